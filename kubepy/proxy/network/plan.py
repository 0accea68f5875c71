"""Which routes, neighbours and forwarding entries a node needs to reach the pods of the others. Pure."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from kubepy.api.types import Object

BACKENDS = ("host-gw", "vxlan", "none")
VXLAN_OVERHEAD = {4: 50, 6: 70}
"""Bytes of the outer Ethernet, IP, UDP and VXLAN headers, by the version of the outer IP."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: where it is (one address a family, the node's own order) and which pods it has."""

    name: str
    addresses: tuple[Address, ...]
    pods: tuple[Network, ...]


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
    """`own` are this node's pod ranges; empty until it has been given one. `unreachable` says in words what cannot be routed."""

    own: tuple[Network, ...] = ()
    routes: frozenset[Route] = frozenset()
    tunnels: frozenset[Tunnel] = frozenset()
    unreachable: tuple[str, ...] = ()


def internal_ips(node: Object) -> tuple[Address, ...]:
    """The node's first InternalIP of each family, in the node's order."""
    found: dict[int, Address] = {}
    for entry in (node.get("status") or {}).get("addresses") or ():
        if entry.get("type") == "InternalIP":
            try:
                address = ip_address(entry.get("address") or "")
            except ValueError:
                continue
            found.setdefault(address.version, address)
    return tuple(found.values())


def pod_ranges(node: Object) -> tuple[Network, ...]:
    """The node's pod CIDRs; what cannot be read is left out."""
    spec = node.get("spec") or {}
    found = []
    for text in spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()):
        try:
            found.append(ip_network(text))
        except ValueError:
            continue
    return tuple(found)


def vxlan_mac(address: Address) -> str:
    """A locally administered unicast MAC that every node can work out from the address alone."""
    tail = address.packed if address.version == 4 else sha256(address.packed).digest()[:4]
    return ":".join(f"{byte:02x}" for byte in (0x0A, 0x4B, *tail))


def plan(name: str, nodes: Iterable[Object], backend: str) -> Plan:
    """What node `name` needs. A range is routed only while one node claims it, and never over our own: a wrong route is worse than none.

    A tunnel goes to the node's first address of the family of our own first one, and carries both families."""
    own: tuple[Network, ...] = ()
    outer = 4
    peers: list[Peer] = []
    for node in sorted(nodes, key=lambda item: str(item["metadata"]["name"])):
        addresses = internal_ips(node)
        if node["metadata"]["name"] == name:
            own, outer = pod_ranges(node), addresses[0].version if addresses else 4
        elif addresses and (ranges := pod_ranges(node)):
            peers.append(Peer(node["metadata"]["name"], addresses, ranges))
    if backend == "none":
        return Plan(own)
    taken = list(own)
    routes: set[Route] = set()
    tunnels: set[Tunnel] = set()
    unreachable: list[str] = []
    for peer in peers:
        free = [network for network in peer.pods if not any(_overlap(network, other) for other in taken)]
        taken += free
        for network in free:
            family = network.version if backend == "host-gw" else outer
            address = next((item for item in peer.addresses if item.version == family), None)
            if address is None:
                unreachable.append(f"{network} on node {peer.name}, which has no IPv{family} address")
            elif backend == "host-gw":
                routes.add(Route(str(network), str(address)))
            else:
                gateway = str(network.network_address)
                routes.add(Route(str(network), gateway))
                tunnels.add(Tunnel(vxlan_mac(address), gateway, str(address)))
    return Plan(own, frozenset(routes), frozenset(tunnels), tuple(unreachable))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def pod_mtu(uplink: int, backend: str, version: int = 4) -> int:
    """What fits through the uplink (`version`: of the nodes' addresses); `none` leaves it to the add-on (0)."""
    return {"host-gw": uplink, "vxlan": uplink - VXLAN_OVERHEAD[version]}.get(backend, 0)
