"""What IPVS, the dummy device and the ipsets must hold for a state. Pure.

Upstream's way: a virtual server for each cluster IP, external IP, load balancer and node address (node ports) of a service port, all of
them balanced by the one scheduler that was chosen. A Local external policy uses this node's endpoints, or all of them where this node
has none (traffic from here still gets through then; answers to others are lost, as upstream).
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubepy.proxy.endpoint import Endpoints, Serving, serving
from kubepy.proxy.ipvs import ipset
from kubepy.proxy.model import Endpoint, NodeInfo, PortName, ServicePort, State


class Address(NamedTuple):
    """Where a virtual server listens."""

    protocol: str
    ip: str
    port: int


class Real(NamedTuple):
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Virtual:
    """`timeout` in seconds, 0: no session affinity."""

    scheduler: str
    timeout: int
    reals: frozenset[Real]


@dataclass(slots=True)
class Bundle:
    """What one service port adds."""

    virtuals: list[tuple[Address, Virtual]] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    members: list[tuple[str, str]] = field(default_factory=list)
    """(ipset, member)"""


@dataclass(slots=True)
class Plan:
    virtuals: dict[Address, Virtual] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)
    members: dict[str, set[str]] = field(default_factory=dict)


class Planner:
    """Plans states; what has not changed since the last one is not planned again."""

    def __init__(self, scheduler: str = "rr") -> None:
        self._scheduler = scheduler
        self._kept: dict[PortName, tuple[ServicePort, Endpoints, Bundle]] = {}
        self._about: tuple[NodeInfo, tuple[str, ...]] | None = None

    def plan(self, state: State, node_addresses: tuple[str, ...]) -> Plan:
        """`node_addresses` are those that node ports answer on. Of services that claim the same address, the one named first has it."""
        if (state.node, node_addresses) != self._about:
            self._kept, self._about = {}, (state.node, node_addresses)
        before, kept = self._kept, {}
        plan = Plan(members={one: set() for one in ipset.TYPES})
        contested = False
        for port, service in state.services.items():
            ends = state.endpoints.get(port, ())
            old = before.get(port)
            if old is None or not (old[0] is service or old[0] == service) or not (old[1] is ends or old[1] == ends):
                old = (service, ends, port_plan(port, service, ends, state.node, node_addresses, self._scheduler))
            kept[port] = old
            for address, virtual in old[2].virtuals:
                contested = contested or address in plan.virtuals
                plan.virtuals[address] = virtual
            plan.addresses.update(old[2].addresses)
            for one, member in old[2].members:
                plan.members[one].add(member)
        self._kept = kept
        if contested:
            for port in sorted(kept, reverse=True):
                plan.virtuals.update(kept[port][2].virtuals)
        plan.members[ipset.IPVS_IPS] = plan.addresses
        return plan


def port_plan(port: PortName, service: ServicePort, endpoints: Sequence[Endpoint], node: NodeInfo, node_addresses: Sequence[str],
              scheduler: str) -> Bundle:
    """Everything for one service port."""
    out = Bundle()
    ends = serving(endpoints, service, node)
    outside = frozenset(Real(e.ip, e.port) for e in _external(ends, service))
    inside = frozenset(Real(e.ip, e.port) for e in (ends.local if service.internal_local else ends.cluster))
    protocol = service.protocol.lower()

    def listen(ip: str, number: int, reals: frozenset[Real]) -> None:
        out.virtuals.append((Address(service.protocol, ip, number), Virtual(scheduler, service.affinity_seconds, reals)))

    def member(one: str, ip: str, rest: str = "") -> None:
        out.members.append((one, f"{ip},{protocol}:{service.port}{rest}"))

    listen(service.cluster_ip, service.port, inside)
    out.addresses.append(service.cluster_ip)
    member(ipset.CLUSTER_IP, service.cluster_ip)
    for ip in service.external_ips:
        listen(ip, service.port, outside)
        out.addresses.append(ip)
        member(ipset.EXTERNAL_IP_LOCAL if service.external_local else ipset.EXTERNAL_IP, ip)
    for ip in service.load_balancer_ips:
        listen(ip, service.port, outside)
        out.addresses.append(ip)
        member(ipset.BALANCER, ip)
        if service.external_local:
            member(ipset.BALANCER_LOCAL, ip)
        if service.source_ranges:
            member(ipset.BALANCER_FIREWALL, ip)
            for source in _sources(service, node):
                member(ipset.BALANCER_SOURCE_CIDR, ip, f",{source}")
            if node.ip and any(ipaddress.ip_address(node.ip) in ipaddress.ip_network(one, strict=False) for one in service.source_ranges):
                member(ipset.BALANCER_SOURCE_IP, ip, f",{ip}")
    if service.node_port:
        sets = [ipset.NODE_PORT, *([ipset.NODE_PORT_LOCAL] if service.external_local else [])]
        for one in (names[service.protocol] for names in sets):
            if service.protocol == "SCTP":
                out.members += [(one, f"{ip},sctp:{service.node_port}") for ip in node_addresses]
            else:
                out.members.append((one, str(service.node_port)))
        for ip in node_addresses:
            listen(ip, service.node_port, outside)
    if service.health_check_port:
        out.members.append((ipset.HEALTH_CHECK, str(service.health_check_port)))
    for endpoint in ends.reachable:
        if endpoint.local or not endpoint.placed:  # only a pod of this node can reach itself from here
            out.members.append((ipset.LOOP_BACK, f"{endpoint.ip},{protocol}:{endpoint.port},{endpoint.ip}"))
    return out


def _external(ends: Serving, service: ServicePort) -> Endpoints:
    if service.external_local:
        if ends.local:
            return ends.local
        if service.internal_local and ends.any:
            return ()
    return ends.cluster


def _sources(service: ServicePort, node: NodeInfo) -> Iterator[str]:
    for text in service.source_ranges:
        network = ipaddress.ip_network(text, strict=False)
        if network.prefixlen:
            yield str(network)
        else:  # a set takes no range of everything
            yield from (str(half) for half in network.subnets())
