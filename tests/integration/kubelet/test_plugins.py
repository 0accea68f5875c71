"""Device plugins and drivers of dynamic resources over real sockets, with a kubelet on a fake runtime: nothing here needs root."""
from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubepy.api.resource import EVENTS, NODES, PODS, RESOURCE_CLAIMS
from kubepy.base.clock import SystemClock
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.device import podresources_pb2 as podresources
from kubepy.kubelet.rpc import PluginSocket, RpcError
from kubepy.kubelet.settings import Settings
from tests.apiserver import free_port
from tests.plugins import DRIVER, RESOURCE, DevicePlugin, ResourceDriver

IMAGE = "docker.io/library/busybox:latest"


def pod(name: str, widgets: int = 0, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent"}
    if widgets:
        container["resources"] = {"limits": {RESOURCE: str(widgets)}, "requests": {RESOURCE: str(widgets)}}
    if "claims" in spec:
        container["resources"] = {"claims": spec.pop("claims")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "hostNetwork": True, "containers": [container], "terminationGracePeriodSeconds": 1, **spec}}


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.client = MemoryClient()
        self.runtime = FakeRuntime()
        self.runtime.add_image(IMAGE)
        (root / "cgroup").mkdir()
        (root / "cgroup" / "cgroup.controllers").write_text("cpu memory pids")
        self.settings = Settings(node_name="n1", node_ip="192.0.2.1", root_dir=str(root / "root"), pod_logs_dir=str(root / "logs"),
                                 container_logs_dir=str(root / "links"))

    async def start(self) -> None:
        self.kubelet = Kubelet(self.settings, self.client, self.runtime, SystemClock())
        self.kubelet.cgroups.root, self.kubelet.cgroups.v2 = self.root / "cgroup", True
        await self.kubelet.start()

    async def until(self, what: Callable[[], Any], seconds: float = 90.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := what():
                return found
            await asyncio.sleep(0.02)
        raise AssertionError("it did not come about in time")

    def widgets(self) -> tuple[str | None, str | None]:
        """Capacity and allocatable."""
        nodes = self.client.all(NODES)
        status = nodes[0].get("status") or {} if nodes else {}
        return (status.get("capacity") or {}).get(RESOURCE), (status.get("allocatable") or {}).get(RESOURCE)

    def status(self, name: str) -> dict[str, Any]:
        return next((entry.get("status") or {} for entry in self.client.all(PODS) if entry["metadata"]["name"] == name), {})

    async def running(self, name: str) -> None:
        await self.until(lambda: self.status(name).get("phase") == "Running")

    async def gone(self, name: str) -> None:
        await self.client.delete(PODS, name, "default")
        await self.until(lambda: not self.status(name))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="kubepy-") as directory:  # short: paths of sockets are limited
        made = World(Path(directory))
        await made.start()
        yield made
        await made.kubelet.stop()


async def ask(world: World, method: str, request: Any, answer: Any) -> Any:
    socket = PluginSocket(str(world.root / "root" / "pod-resources" / "kubelet.sock"))
    try:
        return await socket.call(f"/v1.PodResourcesLister/{method}", request, answer, 10)
    finally:
        await socket.close()


async def test_devices_are_counted_given_shown_kept_over_a_restart_and_taken_back(world: World) -> None:
    plugin = DevicePlugin(world.root / "root", {"w1": 0, "w2": None, "w3": None, "w4": None}, preferred=["w3", "w1"])
    await plugin.start()
    await world.until(lambda: world.widgets() == ("4", "4"))
    plugin.set("w4")
    await world.until(lambda: world.widgets() == ("4", "3"))

    await world.client.create(PODS, pod("two", 2), "default")
    await world.running("two")
    config = world.runtime.configs["two"]
    assert {entry.key: entry.value for entry in config.envs}["WIDGETS"] == "w1,w3"
    assert [(entry.container_path, entry.host_path) for entry in config.devices] == [("/dev/widget", "/dev/null")]
    assert plugin.calls == [("prefer", ["w3", "w1"]), ("allocate", ["w1", "w3"]), ("pre-start", ["w1", "w3"])]

    def health() -> list[str]:
        [resource] = world.status("two")["containerStatuses"][0]["allocatedResourcesStatus"]
        assert resource["name"] == RESOURCE
        return [f"{entry['resourceID']} {entry['health']}" for entry in resource["resources"]]

    assert health() == ["w1 Healthy", "w3 Healthy"]
    plugin.set("w3", "w4")
    await world.until(lambda: health() == ["w1 Healthy", "w3 Unhealthy"])
    plugin.set("w4")
    await world.until(lambda: health() == ["w1 Healthy", "w3 Healthy"])

    listed = await ask(world, "List", podresources.ListPodResourcesRequest(), podresources.ListPodResourcesResponse)
    found = listed.pod_resources[0].containers[0].devices
    assert [(list(entry.device_ids), [node.ID for node in entry.topology.nodes]) for entry in found] == [(["w1"], [0]), (["w3"], [])]
    one = await ask(world, "Get", podresources.GetPodResourcesRequest(pod_name="two", pod_namespace="default"),
                    podresources.GetPodResourcesResponse)
    assert one.pod_resources == listed.pod_resources[0]
    with pytest.raises(RpcError, match="pod nobody in namespace default not found"):
        await ask(world, "Get", podresources.GetPodResourcesRequest(pod_name="nobody", pod_namespace="default"),
                  podresources.GetPodResourcesResponse)
    every = await ask(world, "GetAllocatableResources", podresources.AllocatableResourcesRequest(),
                      podresources.AllocatableResourcesResponse)
    assert [entry.device_ids[0] for entry in every.devices] == ["w1", "w2", "w3"]

    await world.client.create(PODS, pod("greedy", 2), "default")
    await world.until(lambda: world.status("greedy").get("reason") == f"OutOf{RESOURCE}")

    await world.kubelet.stop()
    await world.start()
    await world.until(lambda: world.widgets()[1] == "0")  # until the plugin is there again
    await plugin.stop()
    again = DevicePlugin(world.root / "root", {"w1": 0, "w2": None, "w3": None})
    await again.start()
    await world.until(lambda: world.widgets()[1] == "3")
    await world.client.create(PODS, pod("one", 1), "default")
    await world.running("one")
    assert ("allocate", ["w2"]) in again.calls, "the others are still the first pod's"
    assert world.runtime.calls.count(("create_container", "two")) == 1

    await world.gone("two")
    await world.client.create(PODS, pod("next", 2), "default")
    await world.running("next")
    assert ("allocate", ["w1", "w3"]) in again.calls
    await again.stop()
    await world.until(lambda: world.widgets() == ("3", "0"))


async def test_static_pods_come_from_a_url_and_go_with_it(world: World) -> None:
    answer = {"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "web"}, "spec": {"hostNetwork": True, "containers": [
        {"name": "web", "image": "busybox", "imagePullPolicy": "IfNotPresent"}]}}]}
    seen: list[str] = []

    async def manifest(request: web.Request) -> web.Response:
        seen.append(request.headers.get("x-node", ""))
        return web.json_response(answer)

    site = web.Application()
    site.router.add_get("/pods", manifest)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    try:
        await world.kubelet.stop()
        world.settings = replace(world.settings, static_pod_url=f"http://127.0.0.1:{port}/pods", http_check_frequency=0.1,
                                 static_pod_url_header={"x-node": ["n1"]})
        await world.start()
        await world.running("web-n1")
        mirror = next(entry for entry in world.client.all(PODS) if entry["metadata"]["name"] == "web-n1")
        assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "http"
        assert seen[0] == "n1"
        answer["items"] = []
        await world.until(lambda: not world.status("web-n1"))
        await world.until(lambda: not world.runtime.running())
    finally:
        await runner.cleanup()


async def test_claims_are_prepared_before_their_pods_and_given_back_after_the_last_one(world: World) -> None:
    driver = ResourceDriver(world.root / "root", ["vendor.example/dev=0"])
    driver.problem = "not today"
    await driver.start()
    await world.until(lambda: ("registered", "True") in driver.calls)
    spec = {"resourceClaims": [{"name": "c", "resourceClaimName": "claim"}], "claims": [{"name": "c", "request": "req"}]}
    for name in ("first", "second"):
        await world.client.create(PODS, pod(name, **spec), "default")
    third = pod("third")  # whose extended resources a scheduler has made a claim for
    third["metadata"]["uid"] = "uid-third"
    world.client.load(PODS, {**third, "status": {"extendedResourceClaimStatus": {"resourceClaimName": "claim", "requestMappings": [
        {"containerName": "third", "resourceName": "example.com/dev", "requestName": "req"}]}}})
    uids = {entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in world.client.all(PODS)}

    def said(text: str) -> bool:
        return any(event["reason"] == "FailedPrepareDynamicResources" and text in event["message"] for event in world.client.all(EVENTS))

    await world.until(lambda: said('"claim" not found'))
    world.client.load(RESOURCE_CLAIMS, {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
                                        "metadata": {"name": "claim", "namespace": "default"}, "spec": {}, "status": {
        "allocation": {"devices": {"results": [{"request": "req", "driver": DRIVER, "pool": "pool", "device": "dev0"}]}},
        "reservedFor": [{"resource": "pods", "name": name, "uid": uid} for name, uid in uids.items()]}})
    await world.until(lambda: said("NodePrepareResources failed for claim default/claim: not today"))
    assert "first" not in world.runtime.configs
    driver.problem = ""
    for name in uids:
        await world.running(name)
        assert [entry.name for entry in world.runtime.configs[name].CDI_devices] == ["vendor.example/dev=0"]
    listed = await ask(world, "List", podresources.ListPodResourcesRequest(), podresources.ListPodResourcesResponse)
    resource = listed.pod_resources[0].containers[0].dynamic_resources[0]
    assert (resource.claim_name, resource.claim_resources[0].device_name) == ("claim", "dev0")

    await world.gone("first")
    await world.gone("third")
    assert ("unprepare", "claim") not in driver.calls
    await world.kubelet.stop()
    await world.client.delete(PODS, "second", "default", grace_period_seconds=0)
    await world.start()
    await world.until(lambda: ("unprepare", "claim") in driver.calls)
    await driver.stop()
