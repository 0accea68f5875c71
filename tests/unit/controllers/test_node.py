"""Nodes: ranges, silence, taints, eviction, collection of lost pods."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import LEASES, NODES, PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_micro_time, format_time, parse_time
from kubepy.controllers import podgc
from kubepy.controllers.kit.option import Options
from kubepy.controllers.node import eviction, health, ipam, lifecycle, ttl, zone


def node(name: str = "n1", ready: str = "True", taints: list[Object] | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "z"}},
            "spec": {**spec, **({"taints": taints} if taints else {})},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": "2023-11-14T00:00:00Z"}]}}


def pod(name: str, node_name: str = "n1", *tolerations: Object, **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "creationTimestamp": "2023-11-14T22:13:20Z", **metadata},
            "spec": {"nodeName": node_name, "tolerations": list(tolerations)},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}


def test_ranges_are_given_once_and_taken_back() -> None:
    ranges = ipam.CidrSet("10.244.0.0/22", 24)
    assert [ranges.allocate() for _ in range(4)] == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]
    with pytest.raises(ipam.Exhausted):
        ranges.allocate()
    ranges.release("10.244.2.0/24")
    assert ranges.allocate() == "10.244.2.0/24"


async def test_each_node_gets_a_range_of_each_family_but_not_what_services_use() -> None:
    options = Options(allocate_node_cidrs=True, cluster_cidr=("10.0.0.0/16", "fd00::/48"), service_cluster_ip_range=("10.0.0.0/23",))
    async with Rig(ipam.controller, options=options) as rig:
        await rig.client.create(NODES, node("old", podCIDRs=["10.0.2.0/24", "fd00::/64"], podCIDR="10.0.2.0/24"))
        await rig.client.create(NODES, node("new"))
        await rig.settle()
        assert (await rig.client.get(NODES, "new"))["spec"]["podCIDRs"] == ["10.0.3.0/24", "fd00:0:0:1::/64"]


@pytest.mark.parametrize(("the_node", "keys"), [
    pytest.param(node(), [], id="a ready node has none"),
    pytest.param(node(ready="False"), [health.NOT_READY], id="not ready"),
    pytest.param(node(ready="Unknown"), [health.UNREACHABLE], id="unreachable"),
    pytest.param(node(unschedulable=True), [health.UNSCHEDULABLE], id="cordoned"),
    pytest.param(node(taints=[{"key": health.NOT_READY, "effect": "NoSchedule"}]), [], id="a taint that no longer holds goes"),
    pytest.param(node(taints=[{"key": "mine", "effect": "NoSchedule"}], ready="False"), ["mine", health.NOT_READY], id="others stay"),
])
def test_no_schedule_taints(the_node: Object, keys: list[str]) -> None:
    found = health.plan_no_schedule(the_node, 0)
    assert [item["key"] for item in (found if found is not None else the_node["spec"].get("taints") or [])] == keys


@pytest.mark.parametrize(("ready", "silent", "expected"), [
    pytest.param(3, 0, zone.NORMAL, id="all ready"),
    pytest.param(3, 2, zone.NORMAL, id="two silent are no disruption"),
    pytest.param(2, 3, zone.PARTIAL, id="most are silent"),
    pytest.param(0, 1, zone.FULL, id="none is ready"),
])
def test_zone_states(ready: int, silent: int, expected: str) -> None:
    assert zone.state([*([node()] * ready), *([node(ready="Unknown")] * silent)], 0.55) == expected


@pytest.mark.parametrize(("states", "sizes", "expected"), [
    pytest.param({"a": zone.NORMAL, "b": zone.NORMAL}, {}, {"a": 0.1, "b": 0.1}, id="all is well"),
    pytest.param({"a": zone.NORMAL, "b": zone.FULL}, {}, {"a": 0.1, "b": 0.1}, id="a zone that is down is evicted while another is well"),
    pytest.param({"a": zone.NORMAL, "b": zone.PARTIAL}, {"b": 50}, {"a": 0.1, "b": 0.0}, id="not at all where most of a small zone is"),
    pytest.param({"a": zone.NORMAL, "b": zone.PARTIAL}, {"b": 51}, {"a": 0.1, "b": 0.01}, id="slowly where most of a large zone is"),
    pytest.param({"a": zone.FULL, "b": zone.FULL}, {}, {"a": 0.0, "b": 0.0}, id="nobody when all zones are down"),
    pytest.param({"a": zone.PARTIAL, "b": zone.FULL}, {"a": 5}, {"a": 0.0, "b": 0.1}, id="partly and wholly down"),
])
def test_eviction_rates(states: dict[str, str], sizes: dict[str, int], expected: dict[str, float]) -> None:
    assert zone.rates(states, sizes, 0.1, 0.01, 50) == expected


def in_zone(name: str, ready: str = "True") -> Object:
    found = node(name, ready)
    return {**found, "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": name[0]}}}


async def evicted(rig: Rig) -> list[str]:
    return [item["metadata"]["name"] for item in rig.client.all(NODES)
            if any(taint["effect"] == "NoExecute" for taint in item["spec"].get("taints") or ())]


@pytest.mark.parametrize(("nodes", "expected"), [
    pytest.param({"a1": "False", "a2": "True", "a3": "True"}, ["a1"], id="one node of a zone"),
    pytest.param({"a1": "False", "a2": "False", "a3": "False", "a4": "True"}, [], id="most of a small zone"),
    pytest.param({"a1": "False", "a2": "False", "a3": "False", "b1": "True"}, ["a1", "a2", "a3"], id="a whole zone, another is well"),
    pytest.param({"a1": "False", "b1": "Unknown"}, [], id="every zone"),
])
async def test_who_is_evicted_when_there_is_silence_in(nodes: dict[str, str], expected: list[str]) -> None:
    async with Rig(lifecycle.controller, options=Options(node_monitor_grace_period=1e9, node_startup_grace_period=1e9)) as rig:
        rig.client.load(NODES, *(in_zone(name, ready) for name, ready in nodes.items()))
        await rig.settle(40)
        assert await evicted(rig) == expected
        tainted = {item["metadata"]["name"] for item in rig.client.all(NODES) if item["spec"].get("taints")}
        assert tainted == {name for name, ready in nodes.items() if ready != "True"}, "nothing new is placed there in any case"


async def test_nobody_stays_evicted_when_every_zone_falls_silent() -> None:
    async with Rig(lifecycle.controller, options=Options(node_monitor_grace_period=1e9, node_startup_grace_period=1e9)) as rig:
        rig.client.load(NODES, in_zone("a1", "False"), in_zone("b1"))
        await rig.settle(20)
        assert await evicted(rig) == ["a1"]
        b1 = await rig.client.get(NODES, "b1")
        await rig.client.update(NODES, {**b1, "status": node(ready="False")["status"]}, subresource="status")
        await rig.settle(20)
        assert await evicted(rig) == []
        b1 = await rig.client.get(NODES, "b1")
        await rig.client.update(NODES, {**b1, "status": node()["status"]}, subresource="status")
        await rig.settle(40)
        assert await evicted(rig) == ["a1"]


async def test_nodes_of_a_zone_are_evicted_one_after_another() -> None:
    async with Rig(lifecycle.controller, options=Options(node_monitor_grace_period=1e9, node_startup_grace_period=1e9)) as rig:
        rig.client.load(NODES, *(in_zone(f"a{number}", "False") for number in range(3)), *(in_zone(f"a{number}") for number in range(3, 9)))
        await rig.settle(4)
        counts = []
        for _ in range(4):
            counts.append(len(await evicted(rig)))
            await rig.settle(10)
        assert counts == [1, 2, 3, 3]


async def test_a_silent_node_becomes_unknown_is_tainted_and_its_pods_leave_when_their_toleration_ends() -> None:
    tolerated = {"key": health.UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    async with Rig(lifecycle.controller, eviction.controller) as rig:
        rig.client.load(NODES, node("n1"), node("n2"))
        for name in ("n1", "n2"):
            rig.client.load(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "a"}})
        rig.client.load(PODS, pod("web", "n1", tolerated), pod("daemon", "n1", {"operator": "Exists"}), pod("plain", "n1"))
        for _ in range(6):
            await rig.settle(10)
            await rig.client.patch(LEASES, "n2", {"spec": {"renewTime": format_micro_time(rig.clock.now())}}, "kube-node-lease")
        found = await rig.client.get(NODES, "n1")
        assert found["status"]["conditions"][0]["status"] == "Unknown"
        assert found["status"]["conditions"][0]["reason"] == "NodeStatusUnknown"
        assert {(item["key"], item["effect"]) for item in found["spec"]["taints"]} == {
            (health.UNREACHABLE, "NoSchedule"), (health.UNREACHABLE, "NoExecute")}
        assert not (await rig.client.get(NODES, "n2"))["spec"].get("taints")
        web = await rig.client.get(PODS, "web", "default")
        assert web["status"]["conditions"][0]["status"] == "False"
        plain = await rig.client.get(PODS, "plain", "default")
        assert plain["metadata"]["deletionTimestamp"]
        assert plain["status"]["conditions"][1]["reason"] == "DeletionByTaintManager"
        assert "deletionTimestamp" not in web["metadata"]
        for _ in range(31):
            await rig.client.patch(LEASES, "n2", {"spec": {"renewTime": format_micro_time(rig.clock.now())}}, "kube-node-lease")
            await rig.settle(10)
        assert (await rig.client.get(PODS, "web", "default"))["metadata"]["deletionTimestamp"]
        assert "deletionTimestamp" not in (await rig.client.get(PODS, "daemon", "default"))["metadata"]


async def test_an_old_pod_tolerates_a_taint_without_a_date_for_as_long_as_it_says_each_time_it_comes() -> None:
    tolerated = {"key": "evil", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    taint = {"spec": {"taints": [{"key": "evil", "value": "yes", "effect": "NoExecute"}]}}
    async with Rig(eviction.controller) as rig:
        rig.client.load(NODES, node("n1"))
        old = {**pod("old", "n1", tolerated), "status": {"startTime": format_time(rig.clock.now())}}
        rig.client.load(PODS, old, pod("plain", "n1"))
        await rig.settle(1000)

        async def goes(name: str) -> bool:
            return "deletionTimestamp" in (await rig.client.get(PODS, name, "default"))["metadata"]

        await rig.client.patch(NODES, "n1", taint)
        await rig.settle(40)
        assert (await goes("plain"), await goes("old")) == (True, False)
        await rig.client.patch(NODES, "n1", {"spec": {"taints": None}})
        await rig.settle(40)
        await rig.client.patch(NODES, "n1", taint)
        await rig.settle(40)
        assert not await goes("old")
        await rig.settle(30)
        assert await goes("old")


def tolerating(*items: tuple[str, float | None], started: str = "2023-11-14T22:00:00Z") -> Object:
    tolerations = [{"key": key, "operator": "Exists", **({} if seconds is None else {"tolerationSeconds": seconds})}
                   for key, seconds in items]
    return {"metadata": {"name": "p"}, "spec": {"tolerations": tolerations}, "status": {"startTime": started}}


TEN_PAST = parse_time("2023-11-14T22:10:00Z")


def no_execute(*keys: str) -> list[Object]:
    """`key`, or `key+SECONDS` for one that came later."""
    return [{"key": key.partition("+")[0], "effect": "NoExecute", "timeAdded": format_time(TEN_PAST + int(key.partition("+")[2] or 0))}
            for key in keys]


@pytest.mark.parametrize(("the_pod", "keys", "expected"), [
    pytest.param(tolerating(), [], None, id="no taint"),
    pytest.param(tolerating(), ["a"], 0.0, id="a taint that is not tolerated"),
    pytest.param(tolerating(("a", None)), ["a"], None, id="tolerated for ever"),
    pytest.param(tolerating(("a", 60)), ["a"], TEN_PAST + 60, id="tolerated for a minute from when the taint came"),
    pytest.param(tolerating(("a", 60), ("b", 30)), ["a", "b"], TEN_PAST + 30, id="the shortest counts"),
    pytest.param(tolerating(("a", 60), ("b", None)), ["a", "b"], TEN_PAST + 60, id="one for ever, one for a minute"),
    pytest.param(tolerating(("a", 60)), ["a", "b"], 0.0, id="one of two is not tolerated"),
    pytest.param(tolerating(("a", -5)), ["a"], TEN_PAST, id="a time below zero is none"),
    pytest.param(tolerating(("a", 60), started="2023-11-14T22:20:00Z"), ["a"], TEN_PAST + 660, id="a pod that came after the taint"),
    pytest.param(tolerating(("a", 600), ("b", 60)), ["a", "b+300"], TEN_PAST + 360, id="each one's time runs from when its taint came"),
])
def test_when_a_pod_must_go(the_pod: Object, keys: list[str], expected: float | None) -> None:
    assert eviction.evict_at(the_pod, no_execute(*keys)) == expected


def ended(name: str, day: int, reason: str = "") -> Object:
    return {"metadata": {"name": name, "creationTimestamp": f"2023-11-{day:02d}T00:00:00Z"}, "spec": {"nodeName": "n"},
            "status": {"phase": "Failed", **({"reason": reason} if reason else {})}}


@pytest.mark.parametrize(("threshold", "expected"), [
    pytest.param(0, [], id="no threshold"), pytest.param(4, [], id="few enough"), pytest.param(3, ["evicted"], id="evicted ones first"),
    pytest.param(1, ["evicted", "old", "middle"], id="then the oldest")])
def test_ended_pods_beyond_the_threshold(threshold: int, expected: list[str]) -> None:
    pods = [ended("new", 9), ended("old", 1), ended("middle", 5), ended("evicted", 8, "Evicted"), pod("running")]
    assert [item["metadata"]["name"] for item in podgc.surplus(pods, threshold)] == expected


@pytest.mark.parametrize(("ready", "taint", "leaving", "expected"), [
    pytest.param("False", podgc.OUT_OF_SERVICE, True, True, id="declared out of service"),
    pytest.param("False", podgc.OUT_OF_SERVICE, False, False, id="not while nobody has deleted it"),
    pytest.param("True", podgc.OUT_OF_SERVICE, True, False, id="not while the node is ready"),
    pytest.param("False", "other", True, False, id="not for silence alone"),
])
def test_pods_of_nodes_out_of_service(ready: str, taint: str, leaving: bool, expected: bool) -> None:
    the_pod = pod("p", **({"deletionTimestamp": "x"} if leaving else {}))
    nodes = {"n1": node(ready=ready, taints=[{"key": taint, "effect": "NoExecute"}])}
    assert bool(podgc.abandoned([the_pod], nodes)) is expected


async def test_a_node_that_comes_back_loses_its_taints() -> None:
    async with Rig(lifecycle.controller) as rig:
        rig.client.load(NODES, node("n1", ready="False"), node("n2"))
        await rig.settle(6)
        assert len((await rig.client.get(NODES, "n1"))["spec"]["taints"]) == 2
        await rig.client.update(NODES, {**(await rig.client.get(NODES, "n1")), "status": node()["status"]}, subresource="status")
        await rig.settle(6)
        assert not (await rig.client.get(NODES, "n1"))["spec"].get("taints")


async def test_lost_and_unplaced_pods_are_collected() -> None:
    async with Rig(podgc.controller, ttl.controller) as rig:
        rig.client.load(NODES, node("n1"))
        rig.client.load(PODS, pod("kept"), pod("lost", "gone"), pod("unplaced", "", deletionTimestamp="2023-11-14T00:00:00Z"))
        await rig.settle(25)
        assert sorted(item["metadata"]["name"] for item in rig.client.all(PODS)) == ["kept", "lost"]
        await rig.settle(60)
        assert [item["metadata"]["name"] for item in rig.client.all(PODS)] == ["kept"]
        assert (await rig.client.get(NODES, "n1"))["metadata"]["annotations"] == {"node.alpha.kubernetes.io/ttl": "0"}


async def test_a_node_for_which_no_range_is_left_is_told_of_until_one_is_free() -> None:
    async with Rig(ipam.controller, options=Options(allocate_node_cidrs=True, cluster_cidr=("10.0.0.0/24",))) as rig:
        for name in ("first", "second"):
            await rig.client.create(NODES, {"metadata": {"name": name}, "spec": {}})
            await rig.settle()
        assert "podCIDR" not in (await rig.client.get(NODES, "second"))["spec"]
        assert ("CIDRNotAvailable", "Node second status is now: CIDRNotAvailable") in rig.events()
        await rig.client.delete(NODES, "first")
        await rig.settle(31)
        assert (await rig.client.get(NODES, "second"))["spec"]["podCIDR"] == "10.0.0.0/24"
