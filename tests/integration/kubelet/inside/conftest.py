"""The world all files here share, with pods of all kinds in it that run side by side."""
from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import orjson
import pytest_asyncio

from kubepy.api.resource import CONFIGMAPS, PODS, SECRETS
from kubepy.base.clock import SystemClock
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from kubepy.kubelet.server.stat import Statistics
from tests import images
from tests.integration.kubelet.inside.world import FOREVER, World, open_world, pod, sh

MOUNTS = [{"name": name, "mountPath": f"/{name}"} for name in ("cm", "sec", "down", "mem")]
LIMITS = {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}

PODS_TO_RUN = [
    pod("ok", sh("exit 0"), restartPolicy="Never"),
    pod("bad", sh("echo oops > /dev/termination-log; exit 3"), restartPolicy="Never"),
    pod("fallback", sh("echo from the log; exit 1", terminationMessagePolicy="FallbackToLogsOnError"), restartPolicy="Never"),
    pod("crash", sh("exit 1")),
    pod("onfail", sh("exit 0"), restartPolicy="OnFailure"),
    pod("never", sh("true", image="nosuch:1", imagePullPolicy="Never")),
    pod("badcmd", {"name": "c", "command": ["/nonexistent"]}, restartPolicy="Never"),
    pod("init", sh("cat /w/x; " + FOREVER, volumeMounts=[{"name": "w", "mountPath": "/w"}]),
        initContainers=[sh("echo from-init > /w/x", "i1", volumeMounts=[{"name": "w", "mountPath": "/w"}]), sh("true", "i2")],
        volumes=[{"name": "w", "emptyDir": {}}]),
    pod("initfail", sh("true"), initContainers=[sh("exit 5", "i1")], restartPolicy="Never"),
    pod("sidecar", sh("sleep 1"), initContainers=[sh(FOREVER, "side", restartPolicy="Always")], restartPolicy="Never"),
    pod("volumes", sh("cat /cm/a /sec/pw /down/labels /one; echo; stat -c '%a %g' /sec/..data/pw; grep -c 'tmpfs /sec ' /proc/mounts; "
                      "echo $E2 $E3 $POD_IP; id -u; id -G; hostname; tail -1 /etc/hosts; head -1 /etc/resolv.conf; " + FOREVER,
                      volumeMounts=[*MOUNTS, {"name": "cm", "mountPath": "/one",
                                              "subPath": "b"}], envFrom=[{"configMapRef": {"name": "cm"}}],
                      env=[{"name": "E1", "value": "x"}, {"name": "E2", "value": "$(E1)-y"},
                           {"name": "E3", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}},
                           {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
        securityContext={"fsGroup": 2000, "runAsUser": 1000}, hostname="myhost", subdomain="sub",
        volumes=[{"name": "cm", "configMap": {"name": "cm"}}, {"name": "sec", "secret": {"secretName": "sec", "defaultMode": 0o400}},
                 {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                 {"name": "mem", "emptyDir": {"medium": "Memory"}}]),
    pod("live", sh(FOREVER, livenessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1})),
    pod("ready", sh("sleep 2; touch /tmp/r; " + FOREVER, readinessProbe={"exec": {"command": ["cat", "/tmp/r"]}, "periodSeconds": 1})),
    pod("web", {"name": "c", "image": images.ECHO, "ports": [{"containerPort": 8080, "name": "http"}],
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}),
    pod("missing", sh("true", envFrom=[{"configMapRef": {"name": "nope"}}])),
    pod("missvol", sh("true", volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[{"name": "v", "configMap": {"name": "nope"}}]),
    pod("limits", sh(FOREVER, resources=LIMITS)),
    pod("oom", sh("head -c 200m /dev/zero | tail", resources={"limits": {"memory": "20Mi"}}), restartPolicy="Never"),
    pod("hostnet", sh("ip a | grep -c 198.51.100.1; " + FOREVER), hostNetwork=True),
    pod("deadline", sh(FOREVER), activeDeadlineSeconds=2),
    pod("nonroot", sh("true"), securityContext={"runAsNonRoot": True}),
    pod("share", sh("sleep 1; ps; " + FOREVER, "a"), sh(FOREVER, "b"), shareProcessNamespace=True),
    pod("hook", sh(FOREVER, lifecycle={"postStart": {"exec": {"command": ["touch", "/w/post"]}},
                                       "preStop": {"exec": {"command": ["touch", "/w/pre"]}}},
                   volumeMounts=[{"name": "w", "mountPath": "/w"}]), volumes=[{"name": "w", "hostPath": {"path": "HOOK",
                                                                                                         "type": "DirectoryOrCreate"}}]),
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async for made in open_world():
        client = made.client
        client.load(CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "default"},
                                 "data": {"a": "1", "b": "two"}})
        client.load(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec", "namespace": "default"},
                              "data": {"pw": base64.b64encode(b"hunter").decode()}})
        for entry in PODS_TO_RUN:
            text = orjson.dumps(entry).replace(b"HOOK", str(made.directory / "hook").encode())
            await client.create(PODS, orjson.loads(text), "default")
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh() -> AsyncIterator[World]:
    """One without pods."""
    async for made in open_world():
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(world: World) -> AsyncIterator[int]:
    app = App(world.settings, world.kubelet.pods, world.runtime, Statistics(world.settings, world.runtime, SystemClock()), SystemClock(),
              None)
    listener = Listener(app)
    yield await listener.start("127.0.0.1", 0, None)
    await listener.stop()
