"""The table for a state. Pure.

A new connection goes from the base chains to `services`, whose verdict maps lead by address or node port to the service's chain:
`service-…` from inside, `external-…` from outside, which masquerades or keeps to the node (`local-…`) as the policy says. There a
random number picks an endpoint from the chain's part of a map (`service-endpoints-…`, see `place`) and the packet is translated. Ports
without endpoints are rejected or dropped by way of maps of their own, `firewall-ips` holds the load balancers with source ranges, and
packets to a cluster IP that has no such port are rejected.

Known difference: upstream has a chain for each endpoint. Those exist here only for services with session affinity: 5,000 services of
10 endpoints would be 55,000 chains, which the kernel takes a minute and a half to check. Pods that reach themselves are told by their
address before and after translation (`hairpin-connections`), not by a rule for each endpoint.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubepy.proxy.endpoint import Serving, serving
from kubepy.proxy.model import Endpoint, Family, LocalTraffic, NodeInfo, PortName, ServicePort, State
from kubepy.proxy.nftables import name
from kubepy.proxy.nftables.place import Places

Elements = dict[str, str]
"""Key -> value; the value of a set's element is empty."""
EVERY_ADDRESS = ("fib daddr type local",)
_VERDICTS = (name.SERVICE_IPS, name.NO_ENDPOINT_SERVICES, name.FIREWALL_IPS)
_PORT_VERDICTS = (name.SERVICE_NODE_PORTS, name.NO_ENDPOINT_NODE_PORTS)


@dataclass(frozen=True, slots=True)
class Options:
    """`local` is how traffic of this cluster's pods is told; `mark` the masquerade mark; `every_address`: node ports answer on every
    address but loopback's, else on the node's own (or the chosen) ones."""

    local: LocalTraffic = LocalTraffic()  # noqa: RUF009 (frozen)
    masquerade_all: bool = False
    mark: int = 0x4000
    every_address: bool = False


@dataclass(slots=True)
class Collection:
    """A set or map: its declaration without elements, and the elements. Those of a `dynamic` one are the kernel's own."""

    declaration: str
    elements: Elements = field(default_factory=dict)
    dynamic: bool = False


@dataclass(slots=True)
class Bundle:
    """What one service port has for itself (chains and collections), and what it adds to the shared collections."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    shared: list[tuple[str, str, str]] = field(default_factory=list)
    """(collection, key, value)"""
    endpoints: dict[str, Elements] = field(default_factory=dict)
    """Its elements of the maps of endpoints; no other has the same keys."""


@dataclass(slots=True)
class Table:
    """Everything: the base chains and shared collections, and what each service port has: the same object as long as nothing changes.
    `maps` are the names of the maps of endpoints, and their protocols."""

    family: Family
    chains: dict[str, list[str]]
    collections: dict[str, Collection]
    own: dict[PortName, Bundle]
    maps: Mapping[str, str] = field(default_factory=dict)


class Renderer:
    """Renders states; what has not changed since the last one is not rendered again."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._kept: dict[PortName, tuple[ServicePort, tuple[Endpoint, ...], Bundle]] = {}
        self._node: NodeInfo | None = None
        self._places = Places()

    def render(self, state: State) -> Table:
        if state.node != self._node:
            self._kept, self._node = {}, state.node
        before, kept = self._kept, {}
        for port, service in state.services.items():
            ends = state.endpoints.get(port, ())
            old = before.get(port)
            if old is not None and (old[0] is service or old[0] == service) and (old[1] is ends or old[1] == ends):
                kept[port] = old
            else:
                made = port_rules(port, service, serving(ends, service, state.node), state, self.options, self._places)
                kept[port] = (service, ends, made)
        for port in before.keys() - kept.keys():
            for chain in before[port][2].chains:
                self._places.free(chain)
        self._kept = kept
        own = {port: bundle for port, (_, _, bundle) in kept.items()}
        return Table(state.family, base_chains(state.family, self.options), _shared(own, state, self.options), own,
                     dict(self._places.maps))


def ip(family: Family) -> str:
    return "ip" if family == "IPv4" else "ip6"


def base_chains(family: Family, options: Options) -> dict[str, list[str]]:
    """The chains that are there whatever the services; a first line in braces makes it a base chain."""
    daddr, loopback = f"{ip(family)} daddr", "127.0.0.0/8" if family == "IPv4" else "::1"
    by_address = f"{daddr} . meta l4proto . th dport vmap"
    by_port = "meta l4proto . th dport vmap"
    node_port = f"fib daddr type local {daddr} != {loopback}" if options.every_address else f"{daddr} @{name.NODE_PORT_IPS}"
    mark = f"{options.mark:#010x}"

    def base(kind: str, hook: str, priority: int) -> str:
        return f"{{ type {kind} hook {hook} priority {priority} ; }}"

    checks = ["ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"]
    return {
        name.MARK_MASQ: [f"meta mark set meta mark or {mark}"],
        name.MASQUERADING: [
            f"ct status dnat {ip(family)} saddr . {daddr} @{name.HAIRPIN} masquerade fully-random",
            f"meta mark and {mark} == 0 return", f"meta mark set meta mark xor {mark}", "masquerade fully-random"],
        name.SERVICES: [f"{by_address} @{name.SERVICE_IPS}", f"{node_port} {by_port} @{name.SERVICE_NODE_PORTS}"],
        name.REJECT: ["reject"],
        "firewall-check": [f"{by_address} @{name.FIREWALL_IPS}"],
        "service-endpoints-check": [f"{by_address} @{name.NO_ENDPOINT_SERVICES}"],
        "nodeport-endpoints-check": [f"{node_port} {by_port} @{name.NO_ENDPOINT_NODE_PORTS}"],
        "cluster-ips-check": [f'{daddr} @{name.CLUSTER_IPS} reject comment "Reject traffic to invalid ports of ClusterIPs"'],
        "filter-prerouting-pre-dnat": [base("filter", "prerouting", -110), "ct state new jump firewall-check"],
        "filter-output-pre-dnat": [base("filter", "output", -110), "ct state new jump firewall-check"],
        "filter-input": [base("filter", "input", 0), "ct state new jump nodeport-endpoints-check",
                         "ct state new jump service-endpoints-check"],
        "filter-forward": [base("filter", "forward", 0), *checks],
        "filter-output": [base("filter", "output", 0), *checks],
        "nat-prerouting": [base("nat", "prerouting", -100), f"jump {name.SERVICES}"],
        "nat-output": [base("nat", "output", -100), f"jump {name.SERVICES}"],
        "nat-postrouting": [base("nat", "postrouting", 100), f"jump {name.MASQUERADING}"],
    }


def _shared(own: dict[PortName, Bundle], state: State, options: Options) -> dict[str, Collection]:
    """Where two services claim the same address and port, the one whose name is first has it."""
    kind = "ipv4_addr" if state.family == "IPv4" else "ipv6_addr"
    found = {
        name.CLUSTER_IPS: Collection(f'set {{ type {kind} ; comment "Active ClusterIPs" ; }}'),
        name.NODE_PORT_IPS: Collection(f'set {{ type {kind} ; comment "IPs that accept NodePort traffic" ; }}'),
        name.HAIRPIN: Collection(f'set {{ type {kind} . {kind} ; comment "Pods of this node, for when they reach themselves" ; }}'),
        **{one: Collection(f"map {{ type {kind} . inet_proto . inet_service : verdict ; }}") for one in _VERDICTS},
        **{one: Collection("map { type inet_proto . inet_service : verdict ; }") for one in _PORT_VERDICTS},
    }
    into = {one: collection.elements for one, collection in found.items()}
    contested = False
    for bundle in own.values():
        for one, key, value in bundle.shared:
            elements = into[one]
            if key not in elements:
                elements[key] = value
            elif value:
                contested = True
    if contested:  # the same again in the order of names: the first one stays
        for elements in into.values():
            elements.clear()
        for _, bundle in sorted(own.items(), key=lambda item: item[0]):
            for one, key, value in bundle.shared:
                into[one].setdefault(key, value)
    addresses = state.node.addresses or ((state.node.ip,) if state.node.ip else ())
    if not options.every_address:
        found[name.NODE_PORT_IPS].elements.update(dict.fromkeys(addresses, ""))
    return found


def port_rules(port: PortName, service: ServicePort, ends: Serving, state: State, options: Options, places: Places
               ) -> Bundle:
    """Everything for one service port."""
    out = Bundle()
    protocol = service.protocol.lower()
    inside = ends.local if service.internal_local else ends.cluster
    outside = ends.local if service.external_local else ends.cluster
    at_cluster_ip = f"{service.cluster_ip} . {protocol} . {service.port}"
    refusal = "drop" if ends.any else f"goto {name.REJECT}"
    out.shared.append((name.CLUSTER_IPS, service.cluster_ip, ""))
    out.shared += [(name.HAIRPIN, f"{e.ip} . {e.ip}", "") for e in ends.reachable if e.local or not e.placed]

    if inside:
        chain = name.local(port) if service.internal_local else name.cluster(port)
        out.shared.append((name.SERVICE_IPS, at_cluster_ip, f"goto {chain}"))
    else:
        out.shared.append((name.NO_ENDPOINT_SERVICES, at_cluster_ip, refusal))
    at_balancers = [f"{address} . {protocol} . {service.port}" for address in service.load_balancer_ips]
    at_addresses = [*(f"{address} . {protocol} . {service.port}" for address in service.external_ips), *at_balancers]
    at_port = f"{protocol} . {service.node_port}"
    if ends.reachable and service.external:
        entry = f"goto {name.external(port)}"
        out.shared += [(name.SERVICE_IPS, key, entry) for key in at_addresses]
        if service.node_port:
            out.shared.append((name.SERVICE_NODE_PORTS, at_port, entry))
        out.chains[name.external(port)] = list(_external(port, service, ends, state.family, options))
    if not outside:
        out.shared += [(name.NO_ENDPOINT_SERVICES, key, refusal) for key in at_addresses]
        if service.node_port:
            out.shared.append((name.NO_ENDPOINT_NODE_PORTS, at_port, refusal))
    if service.source_ranges and at_balancers:
        out.shared += [(name.FIREWALL_IPS, key, f"goto {name.firewall(port)}") for key in at_balancers]
        out.chains[name.firewall(port)] = [f"{ip(state.family)} saddr != {{ {', '.join(_allowed(service, state.node))} }} drop"]

    for chain, chosen, own_policy in ((name.cluster(port), ends.cluster, not service.internal_local),
                                      (name.local(port), ends.local, service.internal_local)):
        if chosen:
            first = list(_masquerade_inside(service, state.family, options)) if own_policy else []
            out.chains[chain] = [*first, *_balance(out, port, service, chain, chosen, state.family, places)]
    if service.affinity_seconds:
        for endpoint in ends.reachable:
            _remembering(out, port, service, endpoint, state.family)
    return out


def _external(port: PortName, service: ServicePort, ends: Serving, family: Family, options: Options) -> Iterator[str]:
    if not service.external_local:
        yield f"jump {name.MARK_MASQ}"
        if ends.cluster:
            yield f"goto {name.cluster(port)}"
        return
    if ends.cluster:
        if pods := local_match(options.local, family):
            yield f'{pods} goto {name.cluster(port)} comment "short-circuit pod traffic"'
        yield f'fib saddr type local jump {name.MARK_MASQ} comment "masquerade local traffic"'
        yield f'fib saddr type local goto {name.cluster(port)} comment "short-circuit local traffic"'
    if ends.local:
        yield f"goto {name.local(port)}"


def _allowed(service: ServicePort, node: NodeInfo) -> list[str]:
    """The source ranges, each once and without those inside others (an interval set takes no overlaps); and, where they hold the node,
    the load balancer's addresses, which the node's own connections may come from when they are local."""
    networks = [ipaddress.ip_network(text, strict=False) for text in service.source_ranges]
    if node.ip and any(ipaddress.ip_address(node.ip) in network for network in networks):
        networks += [ipaddress.ip_network(address) for address in service.load_balancer_ips]
    return [str(network) for network in ipaddress.collapse_addresses(networks)]  # type: ignore[type-var]


def local_match(local: LocalTraffic, family: Family, negated: str = "") -> str:
    """Matches what comes from this cluster's pods (or, with `!= `, what does not); "" where that cannot be told."""
    if local.cidr:
        return f"{ip(family)} saddr {negated}{local.cidr}"
    if local.bridge or local.prefix:
        return f'iifname {negated}"{local.bridge or local.prefix + "*"}"'
    return ""


def _masquerade_inside(service: ServicePort, family: Family, options: Options) -> Iterator[str]:
    rule = f"{ip(family)} daddr {service.cluster_ip} {service.protocol.lower()} dport {service.port}"
    if options.masquerade_all:
        yield f"{rule} jump {name.MARK_MASQ}"
    elif others := local_match(options.local, family, "!= "):
        yield f"{rule} {others} jump {name.MARK_MASQ}"


def _balance(out: Bundle, port: PortName, service: ServicePort, chain: str, endpoints: Sequence[Endpoint], family: Family,
             places: Places) -> Iterator[str]:
    """First to where the client was before (affinity), else to one of all."""
    if service.affinity_seconds:
        for endpoint in endpoints:
            yield f"{ip(family)} saddr @{name.affinity(port, endpoint)} goto {name.endpoint(port, endpoint)}"
        mine = name.choices(chain)
        out.collections[mine] = Collection("map { typeof numgen random mod 1 : verdict ; }", {
            str(index): f"goto {name.endpoint(port, endpoint)}" for index, endpoint in enumerate(endpoints)})
        yield f"numgen random mod {len(endpoints)} vmap @{mine}"
        return
    place = places.find(chain, service.protocol.lower(), len(endpoints))
    out.endpoints.setdefault(place.map, {}).update({
        str(number): f"{endpoint.ip} . {endpoint.port}" for number, endpoint in enumerate(endpoints, place.start)})
    yield (f"meta l4proto {service.protocol.lower()} dnat {ip(family)} to numgen random mod {len(endpoints)} offset {place.start} "
           f"map @{place.map}")


def endpoint_map(family: Family, protocol: str) -> str:
    """The declaration of a map of endpoints."""
    return f"map {{ typeof numgen random mod 1 : {ip(family)} daddr . {protocol} dport ; }}"


def _remembering(out: Bundle, port: PortName, service: ServicePort, endpoint: Endpoint, family: Family) -> None:
    """An endpoint's chain for a service with session affinity: notes the client, then translates."""
    clients = name.affinity(port, endpoint)
    kind = "ipv4_addr" if family == "IPv4" else "ipv6_addr"
    out.collections[clients] = Collection(f"set {{ type {kind} ; flags dynamic,timeout ; timeout {service.affinity_seconds}s ; }}",
                                          dynamic=True)
    where = f"[{endpoint.ip}]" if family == "IPv6" else endpoint.ip
    out.chains[name.endpoint(port, endpoint)] = [
        f"update @{clients} {{ {ip(family)} saddr }}",
        f"meta l4proto {service.protocol.lower()} dnat to {where}:{endpoint.port}"]
