"""Which routes, neighbours and forwarding entries a node needs to reach the pods of the others. Pure."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

from kubepy.api.types import Object

BACKENDS = ("host-gw", "vxlan", "none")
VXLAN_OVERHEAD = 50
"""Bytes of the outer Ethernet, IPv4, UDP and VXLAN headers."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: where it is and which pods it has."""

    name: str
    address: IPv4Address
    pods: tuple[IPv4Network, ...]


@dataclass(frozen=True, slots=True, order=True)
class Route:
    destination: str
    gateway: str


@dataclass(frozen=True, slots=True, order=True)
class Tunnel:
    """The far end of a VXLAN: its MAC address, the gateway address that stands for it, and the node it is reached at."""

    mac: str
    gateway: str
    node: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`own` are this node's pod ranges; empty until it has been given one."""

    own: tuple[IPv4Network, ...] = ()
    routes: frozenset[Route] = frozenset()
    tunnels: frozenset[Tunnel] = frozenset()


def internal_ip(node: Object) -> IPv4Address | None:
    """The node's first IPv4 InternalIP."""
    for entry in (node.get("status") or {}).get("addresses") or ():
        if entry.get("type") == "InternalIP":
            try:
                address = ip_address(entry.get("address") or "")
            except ValueError:
                continue
            if isinstance(address, IPv4Address):
                return address
    return None


def pod_ranges(node: Object) -> tuple[IPv4Network, ...]:
    """The node's IPv4 pod CIDRs; what cannot be read is left out."""
    spec = node.get("spec") or {}
    found = []
    for text in spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()):
        try:
            network = ip_network(text)
        except ValueError:
            continue
        if isinstance(network, IPv4Network):
            found.append(network)
    return tuple(found)


def vxlan_mac(address: IPv4Address) -> str:
    """A locally administered unicast MAC that every node can work out from the address alone."""
    return ":".join(f"{byte:02x}" for byte in (0x0A, 0x4B, *address.packed))


def plan(name: str, nodes: Iterable[Object], backend: str) -> Plan:
    """What node `name` needs. A range is routed only while one node claims it, and never over our own: a wrong route is worse than none."""
    own: tuple[IPv4Network, ...] = ()
    peers: list[Peer] = []
    for node in sorted(nodes, key=lambda item: str(item["metadata"]["name"])):
        if node["metadata"]["name"] == name:
            own = pod_ranges(node)
        elif (address := internal_ip(node)) is not None and (ranges := pod_ranges(node)):
            peers.append(Peer(node["metadata"]["name"], address, ranges))
    if backend == "none":
        return Plan(own)
    taken = list(own)
    routes: set[Route] = set()
    tunnels: set[Tunnel] = set()
    for peer in peers:
        free = [network for network in peer.pods if not any(network.overlaps(other) for other in taken)]
        taken += free
        if backend == "host-gw":
            routes |= {Route(str(network), str(peer.address)) for network in free}
            continue
        for network in free:
            gateway = str(network.network_address)
            routes.add(Route(str(network), gateway))
            tunnels.add(Tunnel(vxlan_mac(peer.address), gateway, str(peer.address)))
    return Plan(own, frozenset(routes), frozenset(tunnels))


def pod_mtu(uplink: int, backend: str) -> int:
    """What fits through the uplink; `none` leaves it to the add-on (0)."""
    return {"host-gw": uplink, "vxlan": uplink - VXLAN_OVERHEAD}.get(backend, 0)
