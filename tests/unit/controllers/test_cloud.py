"""What a provider does for services, nodes and routes; service ranges that come and go."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import NODES, SERVICES
from kubepy.api.types import Object
from kubepy.controllers import servicecidr
from kubepy.controllers.cloud import inventory, node, pool, route, service
from kubepy.controllers.cloud.provider import ProviderError, Route
from kubepy.controllers.kit.option import Options


def balanced(name: str, *, ip: str = "", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"type": "LoadBalancer", **spec},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]} if ip else {}}}


POOL = pool.parse_pool(["192.0.2.8-192.0.2.10", "2001:db8::/120"])


@pytest.mark.parametrize(("wanted", "others", "expected"), [
    pytest.param(balanced("a"), [], ["192.0.2.8"], id="the first"),
    pytest.param(balanced("a"), [balanced("b", ip="192.0.2.8")], ["192.0.2.9"], id="the first free one"),
    pytest.param(balanced("a", ip="192.0.2.10"), [], ["192.0.2.10"], id="the one it has"),
    pytest.param(balanced("a", ip="203.0.113.1"), [], ["192.0.2.8"], id="not one that left the pool"),
    pytest.param(balanced("a", loadBalancerIP="192.0.2.9"), [], ["192.0.2.9"], id="the one it asks for"),
    pytest.param(balanced("a", ipFamilies=["IPv4", "IPv6"]), [], ["192.0.2.8", "2001:db8::1"], id="one of each family"),
    pytest.param(balanced("a", loadBalancerIP="192.0.2.9"), [balanced("b", ip="192.0.2.9")], "taken", id="another has it"),
    pytest.param(balanced("a", loadBalancerIP="203.0.113.1"), [], "not in the pool", id="it is not ours to give"),
    pytest.param(balanced("a"), [balanced(str(i), ip=f"192.0.2.{i}") for i in (8, 9, 10)], "no free", id="nothing left"),
])
def test_addresses(wanted: Object, others: list[Object], expected: list[str] | str) -> None:
    used = pool.taken([*others, wanted], wanted)
    if isinstance(expected, str):
        with pytest.raises(ProviderError, match=expected):
            pool.choose(wanted, POOL, used)
    else:
        assert [str(address) for address in pool.choose(wanted, POOL, used)] == expected


async def test_services_get_addresses_of_their_own_and_tell_when_there_are_none() -> None:
    async with Rig(service.controller, options=Options(load_balancer_pool=("192.0.2.1-192.0.2.2",))) as rig:
        for name in ("a", "b", "c"):
            await rig.client.create(SERVICES, {"metadata": {"name": name, "namespace": "default"}, "spec": {"type": "LoadBalancer"}})
        await rig.settle()
        found = [service.ingress_of(item) for item in rig.client.all(SERVICES)]
        assert sorted(item[0]["ip"] for item in found if item) == ["192.0.2.1", "192.0.2.2"]
        assert ("SyncLoadBalancerFailed", "Error syncing load balancer: the pool has no free IPv4 address") in rig.events()


@pytest.mark.parametrize(("others", "addresses", "expected"), [
    pytest.param([], ["10.0.0.5"], ["10.0.0.5"], id="an address needs it"),
    pytest.param([], ["10.1.0.5"], [], id="an address of another range"),
    pytest.param(["10.0.0.0/16"], ["10.0.0.5"], [], id="another range holds the address too"),
])
def test_ranges_that_are_needed(others: list[str], addresses: list[str], expected: list[str]) -> None:
    cidr: Object = {"metadata": {"name": "x"}, "spec": {"cidrs": ["10.0.0.0/24"]}}
    rest = [{"metadata": {"name": text}, "spec": {"cidrs": [text]}} for text in others]
    assert servicecidr.orphans(cidr, [cidr, *rest], addresses) == expected


async def test_a_range_is_ready_and_goes_when_nobody_needs_it() -> None:
    async with Rig(servicecidr.controller) as rig:
        client = rig.client
        await client.create(servicecidr.SERVICE_CIDRS, {"metadata": {"name": "x"}, "spec": {"cidrs": ["10.0.0.0/24"]}})
        await client.create(servicecidr.IP_ADDRESSES, {"metadata": {"name": "10.0.0.5"}, "spec": {}})
        await rig.settle()
        cidr = client.all(servicecidr.SERVICE_CIDRS)[0]
        assert cidr["metadata"]["finalizers"] == [servicecidr.FINALIZER]
        assert cidr["status"]["conditions"][0]["status"] == "True"
        await client.delete(servicecidr.SERVICE_CIDRS, "x")
        await rig.settle()
        assert client.all(servicecidr.SERVICE_CIDRS)[0]["status"]["conditions"][0]["reason"] == "Terminating"
        await client.delete(servicecidr.IP_ADDRESSES, "10.0.0.5")
        for _ in range(3):
            await rig.settle(11)
        assert client.all(servicecidr.SERVICE_CIDRS) == []


MACHINES = """
machines:
- {name: a, providerID: "rack://1", type: small, zone: z1, region: north, addresses: [192.0.2.11], labels: {disk: ssd}}
- {name: b, running: false}
"""


def bare(name: str, ready: str = "True", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": spec, "status": {
        "conditions": [{"type": "Ready", "status": ready}],
        "addresses": [{"type": "InternalIP", "address": f"10.0.0.{ord(name[0]) - 96}"}]}}


async def test_a_node_that_waits_for_its_provider_learns_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "machines"
    file.write_text(MACHINES)
    waiting = [{"key": node.UNINITIALIZED, "value": "true", "effect": "NoSchedule"}, {"key": "other", "effect": "NoSchedule"}]
    async with Rig(node.initialize, options=Options(machine_file=str(file))) as rig:
        rig.client.load(NODES, bare("a", taints=waiting), bare("x", taints=waiting))
        await rig.settle()
        found = await rig.client.get(NODES, "a")
        assert found["spec"] == {"providerID": "rack://1", "taints": waiting[1:]}
        assert found["metadata"]["labels"] == {
            "disk": "ssd", "node.kubernetes.io/instance-type": "small", "beta.kubernetes.io/instance-type": "small",
            "topology.kubernetes.io/zone": "z1", "failure-domain.beta.kubernetes.io/zone": "z1",
            "topology.kubernetes.io/region": "north", "failure-domain.beta.kubernetes.io/region": "north"}
        assert found["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.11"}
        assert (await rig.client.get(NODES, "x"))["spec"]["taints"] == waiting  # nobody knows its machine
        assert ("Synced", "Node synced successfully") in rig.events()
        file.write_text(MACHINES.replace("192.0.2.11", "192.0.2.12"))
        await rig.settle(node.UPDATE_PERIOD)
        assert (await rig.client.get(NODES, "a"))["status"]["addresses"][0]["address"] == "192.0.2.12"


async def test_a_silent_node_goes_with_its_machine_and_is_tainted_while_that_is_shut_down(tmp_path: Path) -> None:
    file = tmp_path / "machines"
    file.write_text(MACHINES)
    async with Rig(node.lifecycle, options=Options(machine_file=str(file))) as rig:
        rig.client.load(NODES, bare("a"), bare("b", "Unknown"), bare("gone", "Unknown"), bare("strange"))
        await rig.settle(6)
        assert [item["metadata"]["name"] for item in rig.client.all(NODES)] == ["a", "b", "strange"]
        assert [item["key"] for item in (await rig.client.get(NODES, "b"))["spec"]["taints"]] == [node.SHUTDOWN["key"]]
        assert ("DeletingNode", "Deleting node gone because it does not exist in the cloud provider") in rig.events()
        file.write_text("machines: [{broken: 1}]")  # nothing is done on a guess
        await rig.client.patch(NODES, "a", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, subresource="status")
        await rig.client.patch(NODES, "b", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, subresource="status")
        await rig.settle(6)
        assert len(rig.client.all(NODES)) == 3
        assert not (await rig.client.get(NODES, "b"))["spec"].get("taints")


@pytest.mark.parametrize(("text", "problem"), [
    pytest.param("machines: {}", "not a list", id="no list"),
    pytest.param("machines: [{type: x}]", "without a name", id="a machine without a name"),
    pytest.param("machines: [{name: a, adresses: []}]", "unknown field adresses", id="a misspelt field"),
    pytest.param("machines: [", "expected", id="no YAML"),
])
def test_a_list_of_machines_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        inventory.parse(text)


ROUTE_A, ROUTE_B = Route("10.244.1.0/24", "10.0.0.1"), Route("10.244.2.0/24", "10.0.0.2")


@pytest.mark.parametrize(("present", "make", "remove"), [
    pytest.param([], [ROUTE_A, ROUTE_B], [], id="none is there yet"),
    pytest.param([ROUTE_A, ROUTE_B], [], [], id="all are there"),
    pytest.param([ROUTE_A, ROUTE_B, Route("10.244.9.0/24", "10.0.0.9")], [], [Route("10.244.9.0/24", "10.0.0.9")], id="a node has gone"),
    pytest.param([ROUTE_A, Route("10.244.2.0/24", "10.0.0.7")], [ROUTE_B], [Route("10.244.2.0/24", "10.0.0.7")], id="a node has moved"),
    pytest.param([ROUTE_A, ROUTE_B, Route("172.16.0.0/16", "10.0.0.9")], [], [], id="another's route outside the cluster's range"),
])
def test_routes(present: list[Route], make: list[Route], remove: list[Route]) -> None:
    nodes = [bare("a", podCIDRs=["10.244.1.0/24"]), bare("b", podCIDR="10.244.2.0/24"), bare("c")]
    found = route.plan(nodes, present, ["10.244.0.0/16"])
    assert (found.make, found.remove) == (make, remove)
    assert found.wanted["c"] == []


class Routes:
    def __init__(self) -> None:
        self.made: list[Route] = []

    async def all(self) -> list[Route]:
        return list(self.made)

    async def make(self, route: Route) -> None:
        if route == ROUTE_B:
            raise ProviderError("the table is full")
        self.made.append(route)

    async def remove(self, route: Route) -> None:
        self.made.remove(route)


async def test_nodes_learn_whether_their_pods_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = Routes()
    monkeypatch.setattr("kubepy.controllers.cloud.builtin.KernelRoutes", lambda: routes)
    async with Rig(route.controller, options=Options(kernel_routes=True, cluster_cidr=("10.244.0.0/16",))) as rig:
        rig.client.load(NODES, bare("a", podCIDRs=["10.244.1.0/24"]), bare("b", podCIDRs=["10.244.2.0/24"]))
        await rig.settle()
        found = {item["metadata"]["name"]: next(entry for entry in item["status"]["conditions"] if entry["type"] == "NetworkUnavailable")
                 for item in rig.client.all(NODES)}
        assert (found["a"]["type"], found["a"]["status"], found["a"]["reason"]) == ("NetworkUnavailable", "False", "RouteCreated")
        assert (found["b"]["status"], found["b"]["reason"]) == ("True", "NoRouteCreated")
        assert routes.made == [ROUTE_A]
        await rig.client.delete(NODES, "a")
        await rig.settle(11)
        assert routes.made == []
