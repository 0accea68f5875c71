"""Endpoints and EndpointSlices: who is behind a service, and packing into slices with few writes."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES
from kubepy.api.types import Object
from kubepy.controllers.endpoint import hint, legacy, slices
from kubepy.controllers.endpoint.slice import Group, plan
from kubepy.controllers.kit.option import Options


def pod(name: str, ip: str, *, ready: bool = True, node: str = "n1", **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}, **metadata},
            "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [
                {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "2023-11-14T00:00:00Z"}]}}


def service(**spec: Any) -> Object:
    return {"metadata": {"name": "web", "namespace": "default", "uid": "s", "labels": {"team": "a"},
                         "creationTimestamp": "2023-01-01T00:00:00Z"},
            "spec": {"selector": {"app": "web"}, "ipFamilies": ["IPv4"], "clusterIP": "10.96.0.7",
                     "ports": [{"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"}], **spec}}


NODE: Object = {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}}


@pytest.mark.parametrize(("the_pod", "spec", "conditions"), [
    pytest.param(pod("a", "10.0.0.1"), {}, (True, True, False), id="a ready pod"),
    pytest.param(pod("a", "10.0.0.1", ready=False), {}, (False, False, False), id="an unready pod"),
    pytest.param(pod("a", "10.0.0.1", ready=False), {"publishNotReadyAddresses": True}, (True, False, False), id="unready but published"),
    pytest.param(pod("a", "10.0.0.1", deletionTimestamp="2023-11-14T00:00:00Z"), {}, (False, True, True), id="a terminating pod serves"),
])
def test_endpoint_conditions(the_pod: Object, spec: Object, conditions: tuple[bool, bool, bool]) -> None:
    [group] = slices.groups(service(**spec), [the_pod], {"n1": NODE})
    [endpoint] = group.endpoints
    assert tuple(endpoint["conditions"].values()) == conditions
    assert endpoint["zone"] == "z1"
    assert group.ports == [{"name": "web", "port": 8080, "protocol": "TCP"}]


def test_pods_without_the_named_port_or_the_family_are_left_out() -> None:
    other = pod("b", "10.0.0.2")
    other["spec"]["containers"][0]["ports"] = []
    assert slices.groups(service(), [other, pod("c", "fd00::1")], {"n1": NODE}) == []


TEMPLATE: Object = {"metadata": {"labels": {"l": "1"}, "ownerReferences": []}}
PORTS = [{"name": "", "port": 80, "protocol": "TCP"}]


def endpoints(*names: str) -> list[Object]:
    return [{"addresses": [name], "conditions": {"ready": True}} for name in names]


def existing(name: str, *names: str, labels: str = "1") -> Object:
    return {"metadata": {"name": name, "labels": {"l": labels}}, "addressType": "IPv4", "ports": PORTS, "endpoints": endpoints(*names)}


@pytest.mark.parametrize(("wanted", "present", "writes"), [
    pytest.param("abc", [existing("s", "a", "b", "c")], {}, id="nothing to do"),
    pytest.param("abcde", [], {"create": ["abc", "de"]}, id="new slices are filled up"),
    pytest.param("ab", [existing("s", "a", "b", "c")], {"update": ["s:ab"]}, id="one leaves"),
    pytest.param("abd", [existing("s", "a", "b", "c")], {"update": ["s:abd"]}, id="one is replaced in the slice that changes anyway"),
    pytest.param("abd", [existing("s", "a", "b")], {"update": ["s:abd"]}, id="a slice with room takes it"),
    pytest.param("abcd", [existing("s", "a", "b", "c")], {"create": ["d"]}, id="a full slice is left alone"),
    pytest.param("d", [existing("s", "a", "b", "c"), existing("t", "d")], {"delete": ["s"]}, id="an empty slice goes"),
    pytest.param("a", [existing("s", "a", labels="0")], {"update": ["s:a"]}, id="labels are brought up to date"),
])
def test_packing(wanted: str, present: list[Object], writes: dict[str, list[str]]) -> None:
    todo = plan([Group("IPv4", PORTS, endpoints(*wanted))], present, TEMPLATE, ["IPv4"], 3)

    def text(item: Object) -> str:
        return "".join(endpoint["addresses"][0] for endpoint in item["endpoints"])

    assert [text(item) for item in todo.create] == writes.get("create", [])
    assert [f"{item['metadata']['name']}:{text(item)}" for item in todo.update] == writes.get("update", [])
    assert [item["metadata"]["name"] for item in todo.delete] == writes.get("delete", [])


def test_no_endpoints_leave_one_empty_slice() -> None:
    todo = plan([], [existing("s", "a")], TEMPLATE, ["IPv4"], 3)
    assert [item["metadata"]["name"] for item in todo.delete] == ["s"]
    assert [item["endpoints"] for item in todo.create] == [[]]
    again = plan([], [{**todo.create[0], "metadata": {"name": "e", "labels": {"l": "1"}}}], TEMPLATE, ["IPv4"], 3)
    assert (again.create, again.update, again.delete) == ([], [], [])


async def test_a_service_follows_its_pods() -> None:
    async with Rig(legacy.controller, slices.controller, options=Options(max_endpoints_per_slice=2)) as rig:
        rig.client.load(NODES, NODE)
        await rig.client.create(SERVICES, service())
        await rig.settle()
        [empty] = rig.client.all(ENDPOINT_SLICES)
        assert empty["endpoints"] == []
        rig.client.load(PODS, *(pod(f"p{i}", f"10.0.0.{i}") for i in range(3)), pod("late", "10.0.0.9", ready=False))
        await rig.settle(3)
        found = rig.client.all(ENDPOINT_SLICES)
        assert sorted(len(item["endpoints"]) for item in found) == [2, 2]
        assert found[0]["metadata"]["labels"] == {
            "team": "a", "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
        [legacy_object] = rig.client.all(ENDPOINTS)
        [subset] = legacy_object["subsets"]
        assert [item["ip"] for item in subset["addresses"]] == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
        assert [item["ip"] for item in subset["notReadyAddresses"]] == ["10.0.0.9"]
        assert subset["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
        for name in ("p0", "p1", "p2", "late"):
            await rig.client.delete(PODS, name, "default", grace_period_seconds=0)
        await rig.settle(3)
        assert [item["endpoints"] for item in rig.client.all(ENDPOINT_SLICES)] == [[]]
        assert rig.client.all(ENDPOINTS)[0]["subsets"] == []
        await rig.client.delete(SERVICES, "web", "default")
        await rig.settle(3)
        assert rig.client.all(ENDPOINTS) == []


def zoned(name: str, zone: str, cpu: str = "2", ready: str = "True", **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": {hint.ZONE: zone, **labels} if zone else labels}, "spec": {},
            "status": {"allocatable": {"cpu": cpu} if cpu else {}, "conditions": [{"type": "Ready", "status": ready}]}}


def at(zones: str, ready: bool = True) -> list[Object]:
    """An endpoint for each letter, in the zone of that name; a dot is one without a zone."""
    return [{"addresses": [f"10.0.0.{number}"], "conditions": {"ready": ready}, **({"zone": zone} if zone != "." else {})}
            for number, zone in enumerate(zones)]


def hinted(endpoints: list[Object]) -> str:
    return "".join(item["hints"]["forZones"][0]["name"] if "hints" in item else "-" for item in endpoints)


@pytest.mark.parametrize(("zones", "shares", "wanted"), [
    pytest.param("aabb", {"a": 0.5, "b": 0.5}, "aabb", id="each zone has its share"),
    pytest.param("aaab", {"a": 0.5, "b": 0.5}, "aabb", id="one is lent to the zone with too few"),
    pytest.param("aaaa", {"a": 0.5, "b": 0.5}, "aabb", id="a zone without any borrows its whole share"),
    pytest.param("aaabbc", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, "aacbbc", id="three zones"),
    pytest.param("aaabbz", {"a": 0.5, "b": 0.5}, "aaabbb", id="an endpoint of a zone without nodes serves the neediest"),
    pytest.param("a", {"a": 0.5, "b": 0.5}, hint.TOO_FEW, id="fewer endpoints than zones"),
    pytest.param("ab", {"a": 0.9, "b": 0.1}, hint.OVERLOADED, id="a large zone would overload its endpoints"),
    pytest.param("aab.", {"a": 0.5, "b": 0.5}, hint.NO_ZONE, id="an endpoint whose zone is not known"),
])
def test_zones_get_their_share(zones: str, shares: dict[str, float], wanted: str) -> None:
    endpoints = at(zones)
    if len(wanted) > 10:
        with pytest.raises(hint.Impossible, match=wanted):
            hint.by_share(endpoints, shares)
    else:
        hint.by_share(endpoints, shares)
        assert hinted(endpoints).rstrip("-") == wanted


@pytest.mark.parametrize(("nodes", "wanted"), [
    pytest.param([zoned("1", "a"), zoned("2", "b", "6")], {"a": 0.25, "b": 0.75}, id="by the CPU of the nodes"),
    pytest.param([zoned("1", "a"), zoned("2", "b"), zoned("3", "c", ready="False"),
                  zoned("4", "d", **{"node-role.kubernetes.io/control-plane": ""})],
                 {"a": 0.5, "b": 0.5}, id="without silent nodes and control planes"),
    pytest.param([zoned("1", "a"), zoned("2", "")], hint.NO_NODE_INFORMATION, id="a node without a zone"),
    pytest.param([zoned("1", "a"), zoned("2", "b", "")], hint.NO_NODE_INFORMATION, id="a node without CPU"),
    pytest.param([zoned("1", "a"), zoned("2", "a")], hint.ONE_ZONE, id="one zone"),
])
def test_shares_of_zones(nodes: list[Object], wanted: dict[str, float] | str) -> None:
    if isinstance(wanted, str):
        with pytest.raises(hint.Impossible, match=wanted):
            hint.shares(nodes)
    else:
        assert hint.shares(nodes) == wanted


@pytest.mark.parametrize(("distribution", "hints"), [
    pytest.param(None, None, id="none asked for"),
    pytest.param("PreferClose", {"forZones": [{"name": "a"}]}, id="the zone, by its old name"),
    pytest.param("PreferSameZone", {"forZones": [{"name": "a"}]}, id="the zone"),
    pytest.param("PreferSameNode", {"forZones": [{"name": "a"}], "forNodes": [{"name": "n"}]}, id="the node"),
])
def test_traffic_distribution(distribution: str | None, hints: Object | None) -> None:
    ready, unready = {**at("a")[0], "nodeName": "n"}, {**at("a", ready=False)[0], "nodeName": "n"}
    hint.by_distribution([ready, unready], distribution)
    assert ready.get("hints") == hints
    assert "hints" not in unready


async def test_hints_come_and_go_with_the_nodes_and_are_told_of() -> None:
    async with Rig(slices.controller) as rig:
        body = service()
        body["metadata"]["annotations"] = {hint.MODES[0]: "Auto"}
        rig.client.load(NODES, zoned("n1", "a"), zoned("n2", "b"))
        rig.client.load(SERVICES, body)
        rig.client.load(PODS, *(pod(f"p{number}", f"10.0.0.{number}", node="n1") for number in range(4)))
        await rig.settle()
        [found] = rig.client.all(ENDPOINT_SLICES)
        assert sorted(hinted(found["endpoints"])) == ["a", "a", "b", "b"]
        await rig.client.patch(NODES, "n2", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, subresource="status")
        await rig.settle()
        [found] = rig.client.all(ENDPOINT_SLICES)
        assert hinted(found["endpoints"]) == "----"
        assert rig.events() == [("TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4"),
                                ("TopologyAwareHintsDisabled", f"{hint.ONE_ZONE}, addressType: IPv4")]
