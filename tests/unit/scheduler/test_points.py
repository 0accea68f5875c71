"""Extension points after the decision, plugins of others, and devices, through a whole scheduler."""
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from kubepy.api.errors import ApiError
from kubepy.api.resource import PODS, Resource
from kubepy.base.clock import settle
from kubepy.scheduler import config
from kubepy.scheduler.framework import MAX_SCORE, Plugin, Rejected
from kubepy.scheduler.plugins import DEFAULT

spec = importlib.util.spec_from_file_location("world", Path(__file__).with_name("world.py"))
world_module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world_module)
World = world_module.World
EXAMPLE = Path(__file__).resolve().parents[3] / "deploy/examples/scheduler-plugin"
CLAIMS, SLICES, CLASSES = (Resource("resource.k8s.io", "v1", plural, kind, namespaced) for plural, kind, namespaced in (
    ("resourceclaims", "ResourceClaim", True), ("resourceslices", "ResourceSlice", False), ("deviceclasses", "DeviceClass", False)))


class Pairs(Plugin):
    """Holds pods with a label back until there are two of them."""

    name = "Pairs"
    calls: list = []  # noqa: RUF012

    def permit(self, cycle, node):
        if "pair" not in cycle.pod.labels:
            return None
        if cycle.pod.labels["pair"] == "never":
            raise Rejected("nobody wants it")
        others = [pod for pod in self.handle.waiting.pods() if pod.labels.get("pair") == cycle.pod.labels["pair"]]
        for other in others:
            self.handle.waiting.allow(other.uid, self.name)
        return None if others else 30.0

    async def post_bind(self, cycle, node):
        self.calls.append((cycle.pod.name, node))

    def unreserve(self, cycle, node):
        self.calls.append((cycle.pod.name, "undone"))


def configured(plugin, monkeypatch, text="multiPoint: {enabled: [{name: %s}]}", args="{}"):
    monkeypatch.setattr(config, "registry", lambda: {**{p.name: p for p, _ in DEFAULT}, plugin.name: plugin})
    return config.load(f"""
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- plugins: {{{text % plugin.name}}}
  pluginConfig: [{{name: {plugin.name}, args: {args}}}]
""")


async def test_permit_holds_pods_back_until_they_are_allowed_rejected_or_late(monkeypatch):
    Pairs.calls = []
    async with World(configured(Pairs, monkeypatch)) as world:
        await world.node("n1")
        await world.pod("a1", labels={"pair": "a"}, requests={"cpu": "1"})
        assert await world.where("a1") is None
        assert world.scheduler.snapshot.used[0, 0] == 1000  # it holds its place
        assert (await world.client.get(PODS, "a1", "default"))["status"]["nominatedNodeName"] == "n1"
        await world.pod("plain")
        assert await world.where("plain") == "n1"  # nobody else waits
        await world.pod("a2", labels={"pair": "a"})
        assert (await world.where("a1"), await world.where("a2")) == ("n1", "n1")
        assert {("a1", "n1"), ("a2", "n1"), ("plain", "n1")} <= set(Pairs.calls)
        await world.pod("n", labels={"pair": "never"})
        assert world.recorder.last("n") == ("FailedScheduling", "0/1 nodes are available: 1 nobody wants it.")
        assert await world.condition("n") == ("Unschedulable", "0/1 nodes are available: 1 nobody wants it.")
        await world.pod("late", labels={"pair": "l"}, requests={"cpu": "2"})
        assert world.scheduler.snapshot.used[0, 0] == 3000
        await world.clock.advance(31)
        assert ("late", "undone") in Pairs.calls
        assert world.recorder.last("late")[1] == (
            "0/1 nodes are available: 1 rejected due to timeout after waiting 30s at plugin Pairs.")
        said = [action.body["status"]["nominatedNodeName"] for action in world.client.actions
                if action.name == "late" and "nominatedNodeName" in (action.body.get("status") or {})]
        assert said[:2] == ["n1", None]  # it is tried again since
        await world.pod("gone", labels={"pair": "g"})
        await world.client.delete(PODS, "gone", "default", grace_period_seconds=0)
        await settle(50)
        assert not [pod for pod in world.scheduler.waiting.pods() if pod.name == "gone"]


class Faulty(Plugin):
    name = "Faulty"

    def reserve(self, cycle, node):
        raise ZeroDivisionError("oops")


async def test_a_plugin_that_breaks_after_the_decision_gives_the_place_back(monkeypatch):
    async with World(configured(Faulty, monkeypatch)) as world:
        await world.node("n1")
        await world.pod("a", requests={"cpu": "1"})
        assert world.recorder.last("a")[1] == 'running plugin "Faulty": oops'
        assert (await world.condition("a"))[0] == "SchedulerError"
        assert world.scheduler.snapshot.used[0, 0] == 0


async def test_an_installed_plugin_is_found_and_used(tmp_path, monkeypatch):
    """As pip leaves it: a module on the path, and its metadata with the entry point."""
    info = tmp_path / "quiet_hours-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet-hours\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kubepy.scheduler.plugins]\nQuietHours = quiet_hours:QuietHours\n")
    (tmp_path / "quiet_hours.py").write_text((EXAMPLE / "quiet_hours.py").read_text())
    assert 'QuietHours = "quiet_hours:QuietHours"' in (EXAMPLE / "pyproject.toml").read_text()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "quiet_hours", raising=False)
    found = config.load((EXAMPLE / "scheduler.yaml").read_text())
    profile = found.profiles["default-scheduler"]
    assert [weighted.weight for weighted in profile.scores if weighted.plugin.name == "QuietHours"] == [2]
    async with World(found) as world:
        hour = int(world.clock.now()) // 3600 % 24
        await world.node("quiet", labels={"quiet-hours": f"{hour}-{(hour + 1) % 24}"})
        await world.node("soon", labels={"quiet-hours": f"{(hour + 1) % 24}-{(hour + 2) % 24}"})
        await world.pod("loud", labels={"noise": "loud"})
        assert await world.where("loud") == "soon"
        await world.node("never", cpu="400m", memory="1Gi")
        await world.pod("louder", labels={"noise": "loud"}, requests={"cpu": "300m"})
        assert await world.where("louder") == "never"
        await world.pod("loudest", labels={"noise": "loud"}, requests={"cpu": "4"}, nodeSelector={"kubernetes.io/hostname": "quiet"})
        assert world.recorder.last("loudest")[1].startswith(
            "0/3 nodes are available: 1 node(s) are quiet at this hour, 2 node(s) didn't match Pod's node affinity/selector.")


def test_points_order_plugins_as_upstream_does(monkeypatch):
    found = configured(Pairs, monkeypatch,
                       "multiPoint: {enabled: [{name: %s}]}, filter: {enabled: [{name: NodeAffinity}, {name: NodeName}]}")
    profile = found.profiles["default-scheduler"]
    assert [plugin.name for plugin in profile.filters][:4] == ["NodeAffinity", "NodeName", "NodeUnschedulable", "NodeDeclaredFeatures"]
    assert [plugin.name for plugin in profile.points["permit"]] == ["Pairs"]


class Raw(Plugin):
    """Scores that the framework must bring between 0 and 100, and nothing for some pods."""

    name = "Raw"

    def pre_score(self, cycle, feasible):
        return "score" in cycle.pod.labels

    def score_node(self, cycle, node, feasible):
        return len(node.name) * 1000.0

    def normalize_score(self, cycle, scores, feasible):
        return scores * MAX_SCORE / max(scores[feasible].max(), 1)


async def test_raw_scores_are_normalised(monkeypatch):
    async with World(configured(Raw, monkeypatch)) as world:
        await world.node("long-name", cpu="2")
        await world.node("n", cpu="64")
        await world.pod("a", labels={"score": "y"})
        await world.pod("b", requests={"cpu": "1"})
        assert (await world.where("a"), await world.where("b")) == ("long-name", "n")


# --- devices ---

def gpu_slice(node, *names):
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"slice-{node}"}, "spec": {
        "driver": "gpu.example.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": name, "attributes": {"model": {"string": name[:1]}}} for name in names]}}


def device_class(name):
    return {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name}, "spec": {}}


def gpu_claim(name, cel="true", uid=None, owner=None, first=None):
    request = {"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1,
                                        "selectors": [{"cel": {"expression": cel}}]}}
    if first:
        request = {"name": "r", "firstAvailable": [
            {"name": f"s{index}", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1,
             "selectors": [{"cel": {"expression": text}}]} for index, text in enumerate(first)]}
    owners = {"ownerReferences": [{"kind": "Pod", "name": "x", "uid": owner, "controller": True}]} if owner else {}
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name, "namespace": "default", **owners},
            "spec": {"devices": {"requests": [request]}}}


@pytest.fixture
async def gpus():
    async with World() as world:
        for name in ("n1", "n2", "n3"):
            await world.node(name)
        await world.client.create(CLASSES, device_class("gpu"))
        await world.client.create(SLICES, gpu_slice("n1", "a1"))
        await world.client.create(SLICES, gpu_slice("n2", "b1", "b2"))
        await settle(50)
        yield world


async def test_a_claim_is_allocated_reserved_and_shared(gpus):
    await gpus.client.create(CLAIMS, gpu_claim("c"))
    await gpus.pod("p", resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    assert (node := await gpus.where("p")) in ("n1", "n2")
    claim = await gpus.client.get(CLAIMS, "c", "default")
    assert [entry["name"] for entry in claim["status"]["reservedFor"]] == ["p"]
    assert claim["status"]["allocation"]["devices"]["results"][0]["pool"] == node
    assert claim["status"]["allocation"]["allocationTimestamp"]
    assert claim["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]
    await gpus.pod("q", resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    assert await gpus.where("q") == node
    claim = await gpus.client.get(CLAIMS, "c", "default")
    assert [entry["name"] for entry in claim["status"]["reservedFor"]] == ["p", "q"]
    assert not gpus.scheduler.snapshot.devices.in_flight


async def test_pods_without_devices_for_them_wait_for_some(gpus):
    for number in range(4):
        await gpus.client.create(CLAIMS, gpu_claim(f"c{number}"))
        await gpus.pod(f"p{number}", resourceClaims=[{"name": "g", "resourceClaimName": f"c{number}"}])
    assert sorted([str(await gpus.where(f"p{number}")) for number in range(4)]) == ["None", "n1", "n2", "n2"]
    assert gpus.recorder.last("p3") == ("FailedScheduling", (
        "0/3 nodes are available: 3 cannot allocate all claims. still not schedulable, "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."))
    await gpus.client.create(SLICES, gpu_slice("n3", "c1"))
    await gpus.clock.advance(3)
    assert await gpus.where("p3") == "n3"


async def test_a_pod_waits_for_its_claim_and_class(gpus):
    await gpus.pod("p", resourceClaims=[{"name": "g", "resourceClaimName": "later"}])
    assert gpus.scheduler.queue.entries["default/p"].where == "gated"
    claim = gpu_claim("later")
    claim["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = "tpu"
    await gpus.client.create(CLAIMS, claim)
    await settle(80)
    assert gpus.recorder.last("p")[1].startswith("0/3 nodes are available: request r: device class tpu does not exist. still")
    await gpus.client.create(CLASSES, device_class("tpu"))
    await gpus.clock.advance(3)
    assert await gpus.where("p") in ("n1", "n2")


async def test_a_claim_made_from_a_template_is_found_through_the_status(gpus):
    await gpus.pod("p", resourceClaims=[{"name": "g", "resourceClaimTemplateName": "t"}])
    assert gpus.scheduler.queue.entries["default/p"].where == "gated"
    uid = (await gpus.client.get(PODS, "p", "default"))["metadata"]["uid"]
    await gpus.client.create(CLAIMS, gpu_claim("p-g-x", owner=uid))
    await gpus.client.patch(PODS, "p", {"status": {"resourceClaimStatuses": [{"name": "g", "resourceClaimName": "p-g-x"}]}}, "default",
                            subresource="status")
    await settle(80)
    assert await gpus.where("p") in ("n1", "n2")


async def test_the_preferred_alternative_decides_between_nodes(gpus):
    for number in range(3):
        await gpus.client.create(CLAIMS, gpu_claim(f"c{number}", first=[f'device.attributes["gpu.example.com"].model == "{kind}"'
                                                                        for kind in ("b", "a")]))
        await gpus.pod(f"p{number}", resourceClaims=[{"name": "g", "resourceClaimName": f"c{number}"}])
    assert [await gpus.where(f"p{number}") for number in range(3)] == ["n2", "n2", "n1"]


async def test_a_claim_nobody_uses_is_given_back_when_its_node_is_full(gpus):
    await gpus.client.create(CLAIMS, gpu_claim("c", 'device.attributes["gpu.example.com"].model == "b"'))
    claim = await gpus.client.get(CLAIMS, "c", "default")
    where = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gone"]}]}]}
    await gpus.client.update(CLAIMS, {**claim, "status": {"allocation": {"devices": {"results": []}, "nodeSelector": where}}},
                             subresource="status")
    await settle(50)
    await gpus.pod("p", resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    await gpus.clock.advance(3)
    assert await gpus.where("p") == "n2"
    assert any("3 resourceclaim not available on the node. deallocation of ResourceClaim completed" in event[3]
               for event in gpus.recorder.events)


async def test_an_expression_that_fails_is_an_error(gpus):
    await gpus.client.create(CLAIMS, gpu_claim("c", 'device.attributes["gpu.example.com"].nothing == "x"'))
    await gpus.pod("p", resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    assert (await gpus.condition("p"))[0] == "SchedulerError"
    assert "runtime error: no such key: nothing" in gpus.recorder.last("p")[1]


async def test_a_driver_that_makes_devices_ready_is_waited_for(gpus):
    made = gpu_slice("n3", "c1")
    made["spec"]["devices"][0].update(bindingConditions=["Ready"], bindingFailureConditions=["Broken"])
    await gpus.client.create(SLICES, made)
    await gpus.client.create(CLAIMS, gpu_claim("c", 'device.attributes["gpu.example.com"].model == "c"'))
    await gpus.pod("p", resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    assert await gpus.where("p") is None

    async def report(condition):
        claim = await gpus.client.get(CLAIMS, "c", "default")
        devices = [{"driver": "gpu.example.com", "pool": "n3", "device": "c1", "conditions": [{"type": condition, "status": "True"}]}]
        await gpus.client.update(CLAIMS, {**claim, "status": {**claim["status"], "devices": devices}}, subresource="status")
        await gpus.clock.advance(1)

    await report("Broken")
    assert "binding failed" in gpus.recorder.last("p")[1]
    await gpus.clock.advance(12)
    await report("Ready")
    assert await gpus.where("p") == "n3"


@pytest.fixture
async def extended(gpus):
    """A class stands for example.com/gpu; n4 offers one itself."""
    found = await gpus.client.get(CLASSES, "gpu")
    await gpus.client.update(CLASSES, {**found, "spec": {**found["spec"], "extendedResourceName": "example.com/gpu"}})
    await gpus.node("n4", **{"example.com/gpu": "1"})
    return gpus


async def test_an_extended_resource_is_a_device_where_the_node_does_not_offer_it(extended):
    gpu = {"requests": {"example.com/gpu": "2", "cpu": "100m"}}
    await extended.pod("two", **gpu)
    assert await extended.where("two") == "n2"
    pod = await extended.client.get(PODS, "two", "default")
    status = pod["status"]["extendedResourceClaimStatus"]
    assert status["requestMappings"] == [{"containerName": "c", "resourceName": "example.com/gpu", "requestName": "container-0-request-0"}]
    claim = await extended.client.get(CLAIMS, status["resourceClaimName"], "default")
    assert claim["metadata"]["annotations"] == {"resource.kubernetes.io/extended-resource-claim": "true"}
    assert claim["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]
    assert claim["spec"]["devices"]["requests"] == [{"name": "container-0-request-0", "exactly": {
        "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}}]
    assert {entry["pool"] for entry in claim["status"]["allocation"]["devices"]["results"]} == {"n2"}
    assert [entry["name"] for entry in claim["status"]["reservedFor"]] == ["two"]
    assert not extended.scheduler.snapshot.devices.in_flight
    for name in ("a", "b", "c"):
        await extended.pod(name, requests={"example.com/gpu": "1"})
    assert sorted([str(await extended.where(name)) for name in ("a", "b", "c")]) == ["None", "n1", "n4"]
    [on_n4] = [name for name in ("a", "b", "c") if await extended.where(name) == "n4"]
    assert "extendedResourceClaimStatus" not in (await extended.client.get(PODS, on_n4, "default")).get("status", {})
    assert len((await extended.client.list(CLAIMS))["items"]) == 2
    await extended.client.create(SLICES, gpu_slice("n3", "c1"))
    await extended.clock.advance(3)
    assert sorted([str(await extended.where(name)) for name in ("a", "b", "c")]) == ["n1", "n3", "n4"]


async def test_a_class_stands_for_a_resource_of_its_own_name_and_a_class_that_comes_wakes_pods(gpus):
    await gpus.pod("named", requests={"deviceclass.resource.kubernetes.io/gpu": "1"})
    assert await gpus.where("named") in ("n1", "n2")
    await gpus.pod("later", requests={"example.com/tpu": "1"})
    assert gpus.recorder.last("later")[1].startswith("0/3 nodes are available: 3 Insufficient example.com/tpu.")
    made = device_class("tpu")
    await gpus.client.create(CLASSES, {**made, "spec": {**made["spec"], "extendedResourceName": "example.com/tpu"}})
    await gpus.clock.advance(3)
    assert await gpus.where("later") in ("n1", "n2")


async def test_a_claim_made_for_a_pod_that_is_not_bound_goes_again(extended, monkeypatch):
    create = extended.client.create

    async def refuse(resource, obj, *args, **kwargs):
        if kwargs.get("subresource") == "binding":
            raise ApiError("no", reason="InternalError", code=500)
        return await create(resource, obj, *args, **kwargs)

    monkeypatch.setattr(extended.client, "create", refuse)
    await extended.pod("p", requests={"example.com/gpu": "2"})
    assert await extended.where("p") is None
    assert not (await extended.client.list(CLAIMS))["items"]
    monkeypatch.setattr(extended.client, "create", create)
    await extended.clock.advance(30)
    assert await extended.where("p") == "n2"
    assert len((await extended.client.list(CLAIMS))["items"]) == 1
