"""A kubelet on a private containerd, with the API in memory: pods of all kinds run side by side, then are looked at one by one.

Run by `test_kubelet.py`, which gives it namespaces of its own.
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from kubepy.api.resource import (
    CONFIGMAPS,
    CSI_DRIVERS,
    CSI_NODES,
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SECRETS,
    VOLUME_ATTACHMENTS,
)
from kubepy.base.clock import SystemClock, parse_time
from kubepy.base.http.spdy import DICTIONARY
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.eviction.manager import Eviction
from kubepy.kubelet.pod.logrotate import LogRotation
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from kubepy.kubelet.server.stat import Statistics
from kubepy.kubelet.settings import Settings
from tests import containerd as private
from tests import images
from tests.csi import HostPathDriver

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]
Pod = dict[str, Any]


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> Pod:
    filled = [{"image": images.BUSYBOX, **container} for container in containers]
    if "initContainers" in spec:
        spec["initContainers"] = [{"image": images.BUSYBOX, **container} for container in spec["initContainers"]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 1, "containers": filled, **spec}}


def sh(script: str, name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **fields}


FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
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


@dataclass
class World:
    directory: Path
    containerd: private.Containerd
    client: MemoryClient
    runtime: GrpcRuntime
    kubelet: Kubelet
    settings: Settings
    port: int = 0

    async def status(self, name: str) -> dict[str, Any]:
        return (await self.client.get(PODS, name, "default")).get("status") or {}

    async def until(self, what: Callable[[], Awaitable[Any]], seconds: float = 90.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := await what():
                return found
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come about in time")

    async def container(self, name: str, index: int = 0) -> dict[str, Any]:
        entries = (await self.status(name)).get("containerStatuses") or [{}]
        return entries[index]

    async def all_ready(self, *names: str) -> bool:
        for name in names:
            entries = (await self.status(name)).get("containerStatuses")
            if not entries or not all(entry["ready"] for entry in entries):
                return False
        return True

    def logs(self, name: str, container: str = "c", attempt: int = 0) -> str:
        path = next((self.directory / "logs").glob(f"default_{name}_*/{container}/{attempt}.log"))
        return "\n".join(line.split(" ", 3)[3] for line in path.read_text().splitlines())

    async def new_kubelet(self) -> None:
        self.kubelet = Kubelet(self.settings, self.client, self.runtime, SystemClock())
        await self.kubelet.start()

    async def execute(self, name: str, script: str) -> str:
        worker = self.kubelet.pods.find("default", name)
        assert worker is not None
        view = (await self.kubelet.actor.observe(worker.uid)).newest("c")
        assert view is not None
        return (await self.runtime.exec_sync(view.id, ["sh", "-c", script], 10)).stdout.decode()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    directory = Path(tempfile.mkdtemp(prefix="kubepy-kubelet-"))
    runtime = private.start(directory / "containerd", binary=os.environ.get("KUBEPY_CONTAINERD", "containerd"), own_mounts=False)
    for archive in images.archives().values():
        runtime.ctr("images", "import", "-", data=archive)
    client, cri = MemoryClient(), GrpcRuntime(runtime.endpoint)
    settings = Settings(node_name="n1", node_ip="198.51.100.1", root_dir=str(directory / "root"), pod_logs_dir=str(directory / "logs"),
                        container_logs_dir=str(directory / "links"), runtime_endpoint=runtime.endpoint,
                        cgroup_root=f"/{directory.name}", cni_conf_dir=str(runtime.cni_conf_dir), cni_data_dir=str(directory / "cni"),
                        cluster_dns=("10.96.0.10",), static_pod_path=str(directory / "static"))
    (directory / "static").mkdir()
    made = World(directory, runtime, client, cri, Kubelet(settings, client, cri, SystemClock()), settings)
    try:
        await made.kubelet.start()

        async def registered() -> bool:
            return bool(client.all(NODES))

        await made.until(registered)
        await client.patch(NODES, "n1", {"spec": {"podCIDR": "10.77.0.0/24", "podCIDRs": ["10.77.0.0/24"]}}, type="merge")
        client.load(CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "default"},
                                 "data": {"a": "1", "b": "two"}})
        client.load(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec", "namespace": "default"},
                              "data": {"pw": base64.b64encode(b"hunter").decode()}})
        for entry in PODS_TO_RUN:
            text = orjson.dumps(entry).replace(b"HOOK", str(directory / "hook").encode())
            await client.create(PODS, orjson.loads(text), "default")
        yield made
    finally:
        await made.kubelet.stop()
        await cri.close()
        private.stop(runtime)
        shutil.rmtree(directory, ignore_errors=True)


SEARCH = "search default.svc.cluster.local svc.cluster.local cluster.local"

ENDS = {
    "ok": ("Succeeded", {"exitCode": 0, "reason": "Completed"}),
    "bad": ("Failed", {"exitCode": 3, "reason": "Error", "message": "oops\n"}),
    "fallback": ("Failed", {"exitCode": 1, "message": "from the log\n"}),
    "onfail": ("Succeeded", {"exitCode": 0}),
    "badcmd": ("Failed", {"exitCode": 128, "reason": "StartError"}),
    "oom": ("Failed", {"exitCode": 137, "reason": "OOMKilled"}),
    "sidecar": ("Succeeded", {"exitCode": 0}),
    "deadline": ("Failed", {}),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_pod_that_ends(world: World, name: str) -> None:
    phase, expected = ENDS[name]

    async def ended() -> bool:
        return (await world.status(name)).get("phase") in ("Succeeded", "Failed") and "terminated" in (await world.container(name))["state"]

    await world.until(ended)
    assert (await world.status(name))["phase"] == phase
    state = (await world.container(name))["state"]["terminated"]
    assert {key: state.get(key) for key in expected} == expected


WAITS = {"never": "ErrImageNeverPull", "missing": "CreateContainerConfigError", "missvol": "ContainerCreating", "crash": "CrashLoopBackOff",
         "live": "CrashLoopBackOff", "nonroot": "CreateContainerConfigError"}


@pytest.mark.parametrize("name", WAITS)
async def test_a_pod_that_waits(world: World, name: str) -> None:
    async def waits() -> bool:
        return ((await world.container(name)).get("state") or {}).get("waiting", {}).get("reason") == WAITS[name]

    await world.until(waits)


async def test_what_shall_run_runs_and_is_ready(world: World) -> None:
    names = ("init", "volumes", "ready", "web", "limits", "hostnet", "share", "hook")
    await world.until(lambda: world.all_ready(*names))
    assert (await world.status("hostnet"))["podIP"] == "198.51.100.1"

    async def said() -> bool:  # a container without a probe is ready before it has said anything
        return (world.logs("init"), world.logs("hostnet")) == ("from-init", "1") and "/pause" in world.logs("share", "a")

    await world.until(said)
    assert (await world.status("initfail"))["phase"] == "Failed"
    assert (world.directory / "hook" / "post").exists()


async def test_volumes_environment_and_names_are_as_asked(world: World) -> None:
    await world.until(lambda: world.all_ready("volumes"))

    async def said() -> bool:
        return len(world.logs("volumes").splitlines()) >= 9

    await world.until(said)
    lines = world.logs("volumes").splitlines()
    ip = (await world.status("volumes"))["podIP"]
    assert lines == ['1hunterapp="volumes"two', "440 2000", "1", f"x-y hunter {ip}", "1000", "1000 2000 50000", "myhost",
                     f"{ip}\tmyhost.sub.default.svc.cluster.local\tmyhost", SEARCH]


async def test_a_changed_config_map_reaches_its_volume(world: World) -> None:
    await world.until(lambda: world.all_ready("volumes"))
    await world.client.patch(CONFIGMAPS, "cm", {"data": {"a": "changed"}}, "default")

    async def seen() -> bool:
        return await world.execute("volumes", "cat /cm/a") == "changed"

    await world.until(seen)


async def test_limits_reach_the_kernel_and_are_resized_in_place(world: World) -> None:
    await world.until(lambda: world.all_ready("limits"))
    read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || " \
           "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
    assert (await world.execute("limits", read)).split()[:2] == [str(64 << 20), "20000"]
    found = await world.client.get(PODS, "limits", "default")
    found["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "300m", "memory": "96Mi"}, "requests": {"cpu": "150m",
                                                                                                             "memory": "48Mi"}}
    await world.client.update(PODS, found)

    async def resized() -> bool:
        return (await world.execute("limits", read)).split()[:2] == [str(96 << 20), "30000"]

    await world.until(resized)
    assert (await world.container("limits"))["restartCount"] == 0


async def test_an_ephemeral_container_is_started(world: World) -> None:
    await world.until(lambda: world.all_ready("web"))
    found = await world.client.get(PODS, "web", "default")
    found["spec"]["ephemeralContainers"] = [{"name": "debug", "image": images.BUSYBOX, "command": ["sh", "-c", FOREVER]}]
    await world.client.update(PODS, found)

    async def runs() -> bool:
        return any("running" in entry["state"] for entry in (await world.status("web")).get("ephemeralContainerStatuses") or ())

    await world.until(runs)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(world: World) -> AsyncIterator[int]:
    app = App(world.settings, world.kubelet.pods, world.runtime, Statistics(world.settings, world.runtime, SystemClock()), SystemClock(),
              None)
    listener = Listener(app)
    yield await listener.start("127.0.0.1", 0, None)
    await listener.stop()


async def ask(port: int, head: str, more: bytes = b"", *, until: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode() + b"host: x\r\n\r\n" + more)
    answer = b""
    async with asyncio.timeout(15):
        while data := await reader.read(65536):
            answer += data
            if until and until in answer:
                break
    writer.close()
    return answer


async def test_exec_by_websocket_passes_through(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("web"))
    answer = await ask(server,
                       "GET /exec/default/web/c?command=echo&command=hi&output=1 HTTP/1.1\nconnection: Upgrade\nupgrade: websocket\n"
                               "sec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n"
                               "sec-websocket-protocol: v4.channel.k8s.io\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\x01hi\n" in answer
    assert b'"status":"Success"' in answer


def syn_stream(number: int, kind: str) -> bytes:
    """A SPDY/3.1 SYN_STREAM with one header, stored without compression (which zlib permits)."""
    headers = struct.pack(">I", 1) + b"".join(struct.pack(">I", len(text)) + text for text in (b"streamtype", kind.encode()))
    if number == 1:
        syn_stream.compressor = zlib.compressobj(zdict=DICTIONARY)  # type: ignore[attr-defined]
    compressor = syn_stream.compressor  # type: ignore[attr-defined]
    block = compressor.compress(headers) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIBB", number, 0, 0, 0) + block
    return struct.pack(">HHI", 0x8003, 1, len(body)) + body


async def test_exec_by_spdy_passes_through_bytes_as_they_are(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("web"))
    frames = b"".join(syn_stream(number, kind) for number, kind in ((1, "error"), (3, "stdout")))
    answer = await ask(server, "POST /exec/default/web/c?command=printf&command=spdy-%25s&command=works&output=1 HTTP/1.1\n"
                               "connection: Upgrade\nupgrade: SPDY/3.1\nx-stream-protocol-version: v4.channel.k8s.io\ncontent-length: 0\n",
                       frames)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"spdy-works" in rest
    assert b'"status":"Success"' in rest


async def test_what_the_server_refuses(world: World, server: int) -> None:
    assert b"Upgrade request required" in await ask(server, "POST /exec/default/web/c?command=x&output=1 HTTP/1.1\nconnection: close\n")
    assert b" 404 " in await ask(server, "GET /containerLogs/default/nopod/c HTTP/1.1\nconnection: close\n")
    assert b'previous terminated container "c" in pod "web" not found' in \
        await ask(server, "GET /containerLogs/default/web/c?previous=true HTTP/1.1\nconnection: close\n")


async def test_logs_and_statistics_are_served(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("init"))
    assert (await ask(server,
                      "GET /containerLogs/default/init/c?tailLines=5 HTTP/1.1\nconnection: close\n")).endswith(b"from-init\n\r\n0\r\n\r\n")
    summary = (await ask(server, "GET /stats/summary HTTP/1.1\nconnection: close\n")).partition(b"\r\n\r\n")[2]
    assert any(entry["podRef"]["name"] == "web" and entry["containers"] for entry in orjson.loads(summary)["pods"])


async def test_metrics_are_what_the_metrics_server_reads(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("web"))
    text = (await ask(server, "GET /metrics/resource HTTP/1.1\nconnection: close\n")).partition(b"\r\n\r\n")[2].decode()
    samples = {line.rpartition("} ")[0] + "}": line.rpartition("} ")[2].split() for line in text.splitlines() if "} " in line}
    where = 'container="c",namespace="default",pod="web"'
    cpu, started = samples[f"container_cpu_usage_seconds_total{{{where}}}"], samples[f"container_start_time_seconds{{{where}}}"]
    assert float(cpu[0]) > 0
    assert abs(int(cpu[1]) / 1000 - time.time()) < 30, "a sample says when it was measured"
    running = (await world.container("web"))["state"]["running"]["startedAt"]
    assert abs(float(started[0]) - parse_time(running)) < 10
    assert int(float(samples[f"container_memory_working_set_bytes{{{where}}}"][0])) > 0
    probes = await ask(server, "GET /metrics/probes HTTP/1.1\nconnection: close\n")
    assert b'prober_probe_total{container="c",namespace="default",pod="web",probe_type="Readiness",result="successful"}' in probes


async def test_a_full_disk_evicts_the_pod_that_fills_it(world: World) -> None:
    probe = {"exec": {"command": ["test", "-s", "/fill"]}, "periodSeconds": 1}
    await world.client.create(PODS, pod("hog", sh("dd if=/dev/zero of=/fill bs=1M count=24; " + FOREVER, readinessProbe=probe)), "default")
    await world.until(lambda: world.all_ready("hog", "web"))
    small = world.directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(small)], check=True)
    settings = replace(world.settings, root_dir=str(small), eviction_hard={"nodefs.available": "50%"})
    kubelet = world.kubelet
    eviction = Eviction(settings, kubelet.pods, kubelet.statistics, kubelet.events, SystemClock(), nothing_to_collect)
    await eviction.look()
    assert not eviction.pressures()

    async def counted() -> bool:  # the snapshotter does that every ten seconds
        used = {entry["podRef"]["name"]: entry["containers"][0]["rootfs"]["usedBytes"] for entry in
                (await kubelet.statistics.summary())["pods"] if entry["containers"]}
        return used.get("hog", 0) > 20 << 20

    await world.until(counted)
    (small / "data").write_bytes(bytes(12 << 20))

    await eviction.look()

    async def evicted() -> bool:
        return (await world.status("hog")).get("reason") == "Evicted"

    await world.until(evicted)
    status = await world.status("hog")
    assert status["phase"] == "Failed"
    assert status["message"].startswith("The node was low on resource: ephemeral-storage. Threshold quantity: 8Mi")
    assert eviction.pressures() == {"DiskPressure"}

    async def disrupted() -> bool:
        return "DisruptionTarget" in {entry["type"] for entry in (await world.status("hog"))["conditions"]}

    await world.until(disrupted, 10)
    (small / "data").unlink()
    subprocess.run(["umount", str(small)], check=True)


async def nothing_to_collect() -> int:
    return 0


async def test_logs_are_rotated(world: World) -> None:
    await world.client.create(PODS, pod("chatty", sh("while :; do echo 0123456789012345678901234567890123456789; sleep 0.001; done")),
                              "default")
    await world.until(lambda: world.all_ready("chatty"))
    await asyncio.sleep(1.0)
    rotation = LogRotation(replace(world.settings, container_log_max_size=1000, container_log_max_files=3), world.runtime, SystemClock())
    for _ in range(4):
        await rotation.look()
        await asyncio.sleep(1.1)
    names = sorted(path.name for path in (world.directory / "logs").glob("default_chatty_*/c/*"))
    assert names[0] == "0.log"
    assert len(names) == 3
    assert names[1].endswith(".gz")
    await world.client.delete(PODS, "chatty", "default")


async def test_volumes_of_a_csi_driver_are_staged_published_and_taken_down(world: World) -> None:
    root, client = world.directory / "root", world.client
    driver = HostPathDriver(world.directory / "csi", root)
    await driver.start()

    async def registered() -> bool:
        known = [entry["name"] for node in client.all(CSI_NODES) for entry in node["spec"]["drivers"]]
        return driver.status is not None and driver.name in known

    await world.until(registered, 10)
    assert driver.status is not None
    assert driver.status.plugin_registered
    node = await client.get(NODES, "n1")
    assert node["metadata"]["labels"]["topology.test.kubepy.io/node"] == "n1"
    assert client.all(CSI_NODES)[0]["spec"]["drivers"] == [
        {"name": driver.name, "nodeID": "node-1", "topologyKeys": ["topology.test.kubepy.io/node"], "allocatable": {"count": 7}}]
    client.load(CSI_DRIVERS, {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": driver.name}, "spec": {
        "attachRequired": True, "podInfoOnMount": True, "volumeLifecycleModes": ["Persistent", "Ephemeral"], "fsGroupPolicy": "File"}})
    client.load(PERSISTENT_VOLUMES, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv1"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "csi": {"driver": driver.name, "volumeHandle": "vol-1", "volumeAttributes": {"a": "b"}}}})
    client.load(PERSISTENT_VOLUME_CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
        "name": "claim", "namespace": "default"}, "spec": {"volumeName": "pv1"}, "status": {"phase": "Bound"}})
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e"}]
    for name in ("csi-a", "csi-b"):
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}, {"name": "e", "csi": {"driver": driver.name}}]
        await client.create(PODS, pod(name, sh(f"echo {name} >> /v/who; echo x > /e/x; stat -c %g /v/who; " + FOREVER, volumeMounts=mounts),
                                      securityContext={"fsGroup": 3000}, volumes=volumes), "default")
    await world.until(lambda: _event(world, "is not attached to this node"), 20)
    name = "csi-" + hashlib.sha256(f"vol-1{driver.name}n1".encode()).hexdigest()
    client.load(VOLUME_ATTACHMENTS, {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name},
                                     "status": {"attached": True, "attachmentMetadata": {"lun": "5"}}})
    await world.until(lambda: world.all_ready("csi-a", "csi-b"), 60)

    async def written() -> bool:
        return sorted((world.directory / "csi" / "vol-1" / "who").read_text().split()) == ["csi-a", "csi-b"] and \
            world.logs("csi-a") == "3000"

    await world.until(written, 10)
    publish = next(request for kind, request in driver.calls if kind == "publish" and request.volume_id == "vol-1")
    assert dict(publish.publish_context) == {"lun": "5"}
    assert publish.volume_context["a"] == "b"
    assert publish.volume_context["csi.storage.k8s.io/pod.name"] in ("csi-a", "csi-b")
    assert world.kubelet.csi.in_use() == [f"kubernetes.io/csi/{driver.name}^vol-1"]
    await client.delete(PODS, "csi-a", "default")
    await world.until(lambda: _gone(world, "csi-a"))
    assert not any(kind == "unstage" for kind, _ in driver.calls), "the other pod still uses it"
    await client.delete(PODS, "csi-b", "default")
    await world.until(lambda: _gone(world, "csi-b"))
    kinds = [kind for kind, request in driver.calls if request.volume_id == "vol-1"]
    assert (kinds.count("unpublish"), kinds[-1]) == (2, "unstage")
    assert not world.kubelet.csi.in_use()
    assert (world.directory / "csi" / "vol-1" / "who").exists(), "what was written stays"
    await driver.stop()
    await world.until(lambda: _no_drivers(world), 10)


async def _event(world: World, text: str) -> bool:
    return any(text in event.get("message", "") for event in world.client.all(EVENTS))


async def _gone(world: World, name: str) -> bool:
    return not any(entry["metadata"]["name"] == name for entry in world.client.all(PODS))


async def _no_drivers(world: World) -> bool:
    return not any(node["spec"]["drivers"] for node in world.client.all(CSI_NODES))


async def test_static_pods_run_and_are_shown_by_mirrors(world: World) -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static"}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": images.BUSYBOX, "command": ["sh", "-c", FOREVER]}]}}
    file = world.directory / "static" / "static.yaml"
    file.write_bytes(orjson.dumps(manifest))

    async def mirrored() -> bool:
        return any(entry["metadata"]["name"] == "static-n1" and entry.get("status", {}).get("phase") == "Running"
                   for entry in world.client.all(PODS))

    await world.until(mirrored)
    file.unlink()

    async def gone() -> bool:
        return not any(entry["metadata"]["name"] == "static-n1" for entry in world.client.all(PODS))

    await world.until(gone)


async def test_a_restarted_kubelet_disturbs_nothing(world: World) -> None:
    names = ("init", "ready", "web", "hook")
    await world.until(lambda: world.all_ready(*names))
    before = {name: (await world.container(name))["containerID"] for name in names}
    await world.kubelet.stop()
    await world.new_kubelet()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for name in names:
            entry = await world.container(name)
            assert (entry["containerID"], entry["ready"], entry["restartCount"]) == (before[name], True, 0)
        await asyncio.sleep(0.1)


def pid_of(world: World, container_id: str) -> int:
    lines = [line.split() for line in world.containerd.ctr("tasks", "ls").splitlines()]
    return next(int(line[1]) for line in lines if line[0] == container_id)


async def test_a_killed_container_is_restarted(world: World) -> None:
    entry = await world.container("ready")
    os.kill(pid_of(world, entry["containerID"].rpartition("/")[2]), signal.SIGKILL)

    async def again() -> bool:
        now = await world.container("ready")
        return bool(now["restartCount"] == 1 and "running" in now["state"] and now["lastState"]["terminated"]["exitCode"] == 137)

    await world.until(again)


async def test_a_killed_pause_process_gives_a_new_sandbox(world: World) -> None:
    worker = world.kubelet.pods.find("default", "hook")
    assert worker is not None
    sandbox = (await world.kubelet.actor.observe(worker.uid)).sandbox
    assert sandbox is not None
    os.kill(pid_of(world, sandbox.id), signal.SIGKILL)

    async def again() -> bool:
        now = await world.container("hook")
        return bool(now["restartCount"] == 1 and now["ready"])

    await world.until(again)
    assert any(event["reason"] == "SandboxChanged" for event in world.client.all(EVENTS))


async def test_a_pod_deleted_while_the_kubelet_was_away_ends_and_nothing_is_left_of_any(world: World) -> None:
    await world.kubelet.stop()
    await world.client.delete(PODS, "hook", "default")
    await world.client.delete(PODS, "limits", "default", grace_period_seconds=0)
    await world.new_kubelet()
    for entry in world.client.all(PODS):
        if not entry["metadata"].get("deletionTimestamp"):
            await world.client.delete(PODS, entry["metadata"]["name"], "default")

    async def empty() -> bool:
        return not world.client.all(PODS)

    await world.until(empty)
    assert (world.directory / "hook" / "pre").exists()

    async def clean() -> bool:
        left = await world.runtime.list_sandboxes()
        directories = [*(world.directory / "root" / "pods").iterdir(), *(world.directory / "logs").iterdir()]
        print("left:", [sandbox.metadata.name for sandbox in left], directories, world.kubelet.cgroups.pods())
        return not left and not directories and not world.kubelet.cgroups.pods()

    await world.until(clean)

