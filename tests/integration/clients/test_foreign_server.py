"""Our parts with a server of v1.30: it lacks groups, resources and fields that we know, and takes no initial events by watch. A node joins
with nothing but a kubeconfig, a Deployment's pods are made, placed, run, served and removed, and nobody asks in a hot loop."""
from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import DEPLOYMENTS, ENDPOINT_SLICES, JOBS, LEASES, NODES, PODS, SERVICE_ACCOUNTS, SERVICES
from kubepy.api.types import Object
from kubepy.base.clock import SystemClock
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import Config, load
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.settings import Settings
from tests.apiserver import ROOT, ApiServer
from tests.etcd import Etcd
from tests.older import Older, newer, repeated, without

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]
NODE, STATUS = "n1", "/api/v1/nodes/n1/status"
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{url}"}}}}]
users: [{{name: admin, user: {{}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
"""
TEMPLATE: Object = {"metadata": {"labels": {"app": "web"}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
    {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent"}]}}
DEPLOYMENT: Object = {"metadata": {"name": "web"}, "spec": {
    "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}}
JOB: Object = {"metadata": {"name": "once"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
    {"name": "work", "image": "busybox", "imagePullPolicy": "IfNotPresent"}]}}}}
SERVICE: Object = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}


class World:
    """The server of v1.30, our scheduler and controller manager as processes, our kubelet with a runtime in memory."""

    def __init__(self, server: ApiServer, older: Older, home: Path) -> None:
        self.older, self.home = older, home
        self.direct = HttpClient(load(server.kubeconfig))
        self.runtime = FakeRuntime()
        self.runtime.add_image("docker.io/library/busybox:latest")
        self._client = HttpClient(Config(older.url), user_agent="kubelet")
        self._processes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        (self.home / "kubeconfig").write_text(KUBECONFIG.format(url=self.older.url))
        (self.home / "ca.crt").write_text("authority")
        cgroup = self.home / "cgroup"
        cgroup.mkdir()
        (cgroup / "cgroup.controllers").write_text("cpu memory pids")
        common = ("--kubeconfig", str(self.home / "kubeconfig"), "--secure-port", "0", "--leader-elect=false", "-v", "2")
        self._run("scheduler", *common)
        self._run("controller-manager", *common, "--root-ca-file", str(self.home / "ca.crt"), "--service-cluster-ip-range", "10.96.0.0/16",
                  "--cluster-cidr", "10.244.0.0/16", "--allocate-node-cidrs")
        settings = Settings(node_name=NODE, node_ip="192.0.2.1", root_dir=str(self.home / "root"), pod_logs_dir=str(self.home / "logs"),
                            container_logs_dir=str(self.home / "links"), node_status_update_frequency=0.5,
                            eviction_hard={}, image_gc_high=100)  # this machine's disk is nothing to this test
        self.kubelet = Kubelet(settings, self._client, self.runtime, SystemClock())
        self.kubelet.cgroups.root, self.kubelet.cgroups.v2 = cgroup, True
        await self.kubelet.start()

    def _run(self, module: str, *flags: str) -> None:
        with open(self.home / f"{module}.log", "ab") as log:
            self._processes.append(subprocess.Popen([sys.executable, "-m", "kubepy.cli.main", module, *flags], stdout=log, stderr=log,
                                                    cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}))

    def log(self, module: str) -> str:
        return (self.home / f"{module}.log").read_text()

    async def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        await self.kubelet.stop()
        await self._client.close()
        await self.direct.close()
        for process in self._processes:
            process.wait(60)

    async def until(self, what: Callable[[], Awaitable[Any]], seconds: float = 150.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(NotFound, ConnectionError):
                if found := await what():
                    return found
            await asyncio.sleep(0.05)
        nodes = await self.direct.list(NODES)
        logs = self.log("scheduler")[-1500:] + self.log("controller-manager")[-1500:]
        raise AssertionError(f"it did not come about in time:\n{nodes['items']}\n{logs}")

    async def ready(self) -> bool:
        node = await self.direct.get(NODES, NODE)
        return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in node["status"]["conditions"]) \
            and not node["spec"].get("taints") and bool(node["spec"].get("podCIDR"))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with ApiServer("--disable-admission-plugins=ServiceAccount") as server:
        async with Older(server) as older:
            made = World(server, older, tmp_path)
            try:
                await made.start()
                yield made
            finally:
                await made.stop()


async def test_a_deployment_lives_on_a_server_of_v1_30(world: World) -> None:
    client, older, began = world.direct, world.older, time.monotonic()
    await world.until(world.ready)
    assert (await client.get(LEASES, NODE, "kube-node-lease"))["spec"]["holderIdentity"] == NODE
    with contextlib.suppress(AlreadyExists):
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(DEPLOYMENTS, DEPLOYMENT, "default")
    await client.create(SERVICES, SERVICE, "default")

    async def available() -> bool:
        return ((await client.get(DEPLOYMENTS, "web", "default")).get("status") or {}).get("availableReplicas") == 2

    async def endpoints() -> list[str]:
        slices = await client.list(ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=web")
        found = [address for item in slices["items"] for entry in item.get("endpoints") or () for address in entry["addresses"]]
        return found if len(found) == 2 else []

    await world.until(available)
    await world.until(endpoints)
    assert world.runtime.running() == ["c", "c"]

    world.runtime.exit("c", 1)  # it is restarted, and the API knows
    async def restarted() -> bool:
        pods = (await client.list(PODS, "default"))["items"]
        return sum(entry["restartCount"] for pod in pods for entry in pod["status"]["containerStatuses"]) == 1

    await world.until(restarted)
    await world.until(available)
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Background")

    async def gone() -> bool:
        return not (await client.list(PODS, "default"))["items"]

    await world.until(gone)
    await world.until(lambda: _true(not world.runtime.running()))

    await client.create(JOBS, JOB, "default")
    await world.until(lambda: _true("work" in world.runtime.running()))
    world.runtime.exit("work", 0)

    async def finished() -> bool:
        conditions = ((await client.get(JOBS, "once", "default")).get("status") or {}).get("conditions") or ()
        return "Complete" in [entry["type"] for entry in conditions]

    await world.until(finished)
    before, patched = older.asked.total(), older.asked["PATCH", STATUS]
    looks = 4
    await asyncio.sleep(looks * 0.5)  # what nobody asked for must not happen while this long nothing does
    assert older.asked["PATCH", STATUS] - patched <= 1, "the node's status is written although nothing has changed"
    assert older.asked.total() - before < 60
    often = 4 + int((time.monotonic() - began) / 10)  # who stands by looks again now and then
    assert not list(repeated(older.missed, often))
    assert "dynamic resource allocation is off" in world.log("scheduler")
    assert 'resource_claim] "Standing by' in world.log("controller-manager")
    for module in ("scheduler", "controller-manager"):
        log = world.log(module)
        assert "Traceback" not in log, log
        assert log.count("Cannot list yet") <= 3, log


async def _true(value: bool) -> bool:
    return value


@pytest.mark.parametrize(("path", "missing"), [
    pytest.param("/apis/resource.k8s.io/v1/resourceclaims", True, id="a newer version"),
    pytest.param("/apis/networking.k8s.io/v1/servicecidrs", True, id="a newer resource"),
    pytest.param("/apis/networking.k8s.io/v1/ingresses", False, id="an old one of the same group"),
    pytest.param("/api/v1/namespaces/default/pods/p/resize", True, id="a newer subresource"),
    pytest.param("/api/v1/namespaces/default/pods/p/status", False, id="an old subresource"),
    pytest.param("/api/v1/namespaces/default", False, id="a namespace"),
])
def test_what_the_front_does_not_serve(path: str, missing: bool) -> None:
    assert newer(path) is missing


def test_what_the_front_drops() -> None:
    pod: Object = {"status": {"conditions": [{"type": "Ready", "observedGeneration": 3}], "phase": "Running"}}
    assert without({"spec": {"template": pod}}, "Deployment") == {"spec": {"template": {
        "status": {"conditions": [{"type": "Ready"}], "phase": "Running"}}}}
