"""Routes to other nodes' pods: what is wanted for which nodes."""
from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from kubepy.api.types import Object
from kubepy.proxy.network.plan import Plan, Route, Tunnel, plan, pod_mtu, vxlan_mac


def node(name: str, address: str = "", *ranges: str) -> Object:
    addresses = [{"type": "Hostname", "address": name}, *([{"type": "InternalIP", "address": address}] if address else [])]
    return {"metadata": {"name": name}, "spec": {"podCIDRs": list(ranges)} if ranges else {}, "status": {"addresses": addresses}}


ONE = node("a", "192.0.2.1", "10.244.0.0/24")


def routes(found: Plan) -> set[tuple[str, str]]:
    return {(route.destination, route.gateway) for route in found.routes}


@pytest.mark.parametrize(("others", "expected"), [
    pytest.param([], set(), id="alone"),
    pytest.param([node("b", "192.0.2.2", "10.244.1.0/24")], {("10.244.1.0/24", "192.0.2.2")}, id="another node"),
    pytest.param([node("b", "192.0.2.2")], set(), id="a node without a range yet"),
    pytest.param([node("b", "", "10.244.1.0/24")], set(), id="a node without an address yet"),
    pytest.param([node("b", "192.0.2.2", "fd00::/64", "10.244.1.0/24")], {("10.244.1.0/24", "192.0.2.2")},
                 id="an IPv6 range on a node without an IPv6 address"),
    pytest.param([node("b", "2001:db8::2", "10.244.1.0/24")], set(), id="an IPv4 range on a node without an IPv4 address"),
    pytest.param([node("b", "2001:db8::2", "fd00::/64")], {("fd00::/64", "2001:db8::2")}, id="IPv6"),
    pytest.param([node("b", "192.0.2.2", "10.244.0.0/16")], set(), id="a range that covers ours"),
    pytest.param([node("b", "192.0.2.2", "10.244.1.0/24"), node("c", "192.0.2.3", "10.244.1.0/24")],
                 {("10.244.1.0/24", "192.0.2.2")}, id="two nodes claim one range"),
    pytest.param([node("b", "192.0.2.2", "nonsense")], set(), id="an unreadable range"),
])
def test_routes_on_a_shared_network(others: list[Object], expected: set[tuple[str, str]]) -> None:
    assert routes(plan("a", [ONE, *others], "host-gw")) == expected


def test_a_tunnel_has_a_gateway_a_mac_and_a_far_end() -> None:
    found = plan("a", [ONE, node("b", "192.0.2.2", "10.244.1.0/24")], "vxlan")
    assert found.routes == {Route("10.244.1.0/24", "10.244.1.0")}
    assert found.tunnels == {Tunnel("0a:4b:c0:00:02:02", "10.244.1.0", "192.0.2.2")}


def test_what_cannot_be_routed_is_said() -> None:
    found = plan("a", [ONE, node("b", "192.0.2.2", "fd00::/64", "10.244.1.0/24")], "host-gw")
    assert found.unreachable == ("fd00::/64 on node b, which has no IPv6 address",)
    assert plan("a", [ONE, node("b", "192.0.2.2", "fd00::/64")], "vxlan").tunnels == {Tunnel("0a:4b:c0:00:02:02", "fd00::", "192.0.2.2")}


def test_none_leaves_everything_to_an_add_on() -> None:
    found = plan("a", [ONE, node("b", "192.0.2.2", "10.244.1.0/24")], "none")
    assert not found.routes
    assert not found.tunnels


def test_every_node_works_out_the_same_unicast_mac() -> None:
    mac = vxlan_mac(IPv4Address("192.0.2.1"))
    assert mac == "0a:4b:c0:00:02:01"
    assert int(mac[:2], 16) & 3 == 2  # locally administered, not multicast


@pytest.mark.parametrize(("backend", "expected"), [("host-gw", 1400), ("vxlan", 1350), ("none", 0)])
def test_mtu(backend: str, expected: int) -> None:
    assert pod_mtu(1400, backend) == expected
