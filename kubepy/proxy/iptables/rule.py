"""The rules for a state: upstream's chain structure, rule by rule. Pure.

A packet to a service goes KUBE-SERVICES (or KUBE-NODEPORTS) → KUBE-SVC- (inside) or KUBE-EXT- (outside; by way of KUBE-FW- where
source ranges limit a load balancer) → KUBE-SVC- or KUBE-SVL- (Local policy) → KUBE-SEP- → DNAT. What must be masqueraded is marked on
the way. Ports without endpoints are rejected in the filter table. Rules in a service port's own chains are written as iptables-save
shows them, so that a proxy that starts again can tell which of them are there.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from kubepy.proxy.endpoint import Serving, serving
from kubepy.proxy.iptables import chain
from kubepy.proxy.model import Endpoint, NodeInfo, PortName, ServicePort, State

Chains = dict[str, list[str]]
"""Chain -> rules without their `-A CHAIN`."""


@dataclass(frozen=True, slots=True)
class Options:
    """`local_match` are the iptables arguments that match traffic from this cluster's pods, `remote_match` those of all other
    traffic; both empty where that cannot be told. `mark` is the masquerade mark."""

    local_match: str = ""
    remote_match: str = ""
    masquerade_all: bool = False
    mark: int = 0x4000
    random_fully: bool = True
    localhost_node_ports: bool = True
    drop_invalid: bool = True


@dataclass(slots=True)
class Bundle:
    """What one service port adds: its own chains, and its rules in the shared ones."""

    own: Chains = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    node_ports: list[str] = field(default_factory=list)
    reject: list[str] = field(default_factory=list)
    reject_external: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    firewall: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Rules:
    """Both tables' shared chains, and the nat chains each service port has for itself: the same object as long as nothing changes."""

    filter: Chains
    nat: Chains
    own: dict[PortName, Chains] = field(default_factory=dict)

    def whole_nat(self) -> Chains:
        """Every chain of the nat table."""
        found = dict(self.nat)
        for chains in self.own.values():
            found.update(chains)
        return found


MANY = 1000
"""From so many endpoints on their rules go without comments, which then cost more time than the rules."""


class Renderer:
    """Renders states; what has not changed since the last one is not rendered again."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._kept: dict[PortName, tuple[ServicePort, tuple[Endpoint, ...], Bundle]] = {}
        self._node: NodeInfo | None = None
        self._many = False

    def render(self, state: State) -> Rules:
        many = sum(map(len, state.endpoints.values())) > MANY
        if state.node != self._node or many != self._many:
            self._kept.clear()
            self._node, self._many = state.node, many
        kept: dict[PortName, tuple[ServicePort, tuple[Endpoint, ...], Bundle]] = {}
        for name in sorted(state.services):
            service, endpoints = state.services[name], state.endpoints.get(name, ())
            old = self._kept.get(name)
            if old is not None and (old[0] is service or old[0] == service) and (old[1] is endpoints or old[1] == endpoints):
                kept[name] = old
            else:
                ends = serving(endpoints, service, state.node)
                kept[name] = (service, endpoints, port_rules(name, service, ends, state.node, self.options, many))
        self._kept = kept
        rules = _assemble([bundle for _, _, bundle in kept.values()], state, self.options)
        rules.own = {name: bundle.own for name, (_, _, bundle) in kept.items()}
        return rules


def _assemble(bundles: Sequence[Bundle], state: State, options: Options) -> Rules:
    mark = f"{options.mark:#x}/{options.mark:#x}"
    random = " --random-fully" if options.random_fully else ""
    forward = ["-m conntrack --ctstate INVALID -j DROP"] if options.drop_invalid else []
    forward += [f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark} -j ACCEPT',
                '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT']
    table: Chains = {
        chain.NODE_PORTS: [rule for bundle in bundles for rule in bundle.health],
        chain.SERVICES: [rule for bundle in bundles for rule in bundle.reject],
        chain.EXTERNAL_SERVICES: [rule for bundle in bundles for rule in bundle.reject_external],
        chain.FORWARD: forward,
        chain.FIREWALL: [rule for bundle in bundles for rule in bundle.firewall],
    }
    if options.localhost_node_ports and state.family == "IPv4":
        # loopback addresses are routed then, and a neighbour could send to them
        table[chain.LOCALNET] = ['! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
                                 "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"]
    nat: Chains = {
        chain.NODE_PORTS: [rule for bundle in bundles for rule in bundle.node_ports],
        chain.SERVICES: [*(rule for bundle in bundles for rule in bundle.services), *_to_node_ports(state, options)],
        chain.POSTROUTING: [
            f"-m mark ! --mark {mark} -j RETURN",
            f"-j MARK --xor-mark {options.mark:#x}",
            '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE' + random,
        ],
        chain.MARK_MASQ: [f"-j MARK --or-mark {options.mark:#x}"],
    }
    return Rules(table, nat)


def _to_node_ports(state: State, options: Options) -> list[str]:
    """The last rules of KUBE-SERVICES: local destinations may be node ports."""
    comment = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    if state.node.addresses:
        return [f"{comment} -d {address} -j {chain.NODE_PORTS}" for address in state.node.addresses]
    not_loopback = ""
    if not options.localhost_node_ports or state.family == "IPv6":
        not_loopback = " ! -d ::1/128" if state.family == "IPv6" else " ! -d 127.0.0.0/8"
    return [f"{comment} -m addrtype --dst-type LOCAL{not_loopback} -j {chain.NODE_PORTS}"]


def port_rules(name: PortName, service: ServicePort, ends: Serving, node: NodeInfo, options: Options, many: bool = False) -> Bundle:
    """Everything for one service port; with `many` endpoints in the cluster their rules have no comments."""
    out = Bundle()
    protocol = service.protocol.lower()
    match = f"-m {protocol} -p {protocol}"
    internal_ends = ends.local if service.internal_local else ends.cluster
    external_ends = ends.local if service.external_local else ends.cluster
    policy_chain = chain.local if service.internal_local else chain.cluster
    if service.external_local and service.health_check_port:
        out.health.append(f'-m comment --comment "{name} health check node port" -m tcp -p tcp --dport {service.health_check_port} '
                          "-j ACCEPT")
    _refusals(out, name, service, ends, match, bool(internal_ends), bool(external_ends))

    if internal_ends:
        out.services.append(f'-m comment --comment "{name} cluster IP" {match} -d {service.cluster_ip} --dport {service.port} '
                            f"-j {policy_chain(name)}")
    if service.external and ends.reachable:
        _external(out, name, service, ends, match, node, options)
    targets = {endpoint: chain.endpoint(name, endpoint) for endpoint in ends.reachable}
    if ends.cluster:
        out.own[chain.cluster(name)] = [*_masquerade_inside(name, service, options, not service.internal_local),
                                        *_balance(name, service, ends.cluster, targets, many)]
    if ends.local:
        out.own[chain.local(name)] = [*_masquerade_inside(name, service, options, service.internal_local),
                                      *_balance(name, service, ends.local, targets, many)]
    for endpoint, target in targets.items():
        out.own[target] = list(_endpoint(name, service, endpoint, target, many))
    return out


def _refusals(out: Bundle, name: PortName, service: ServicePort, ends: Serving, match: str, inside: bool, outside: bool) -> None:
    """REJECT where there is no endpoint anywhere, DROP where only this node has none."""
    if not inside:
        target, why = ("DROP", "has no local endpoints") if ends.any else ("REJECT", "has no endpoints")
        out.reject.append(f'-m comment --comment "{name} {why}" {match} -d {service.cluster_ip} --dport {service.port} -j {target}')
    if not outside and service.external:
        target, why = ("DROP", "has no local endpoints") if ends.any else ("REJECT", "has no endpoints")
        comment = f'-m comment --comment "{name} {why}"'
        for address in (*service.external_ips, *service.load_balancer_ips):
            out.reject_external.append(f"{comment} {match} -d {address} --dport {service.port} -j {target}")
        if service.node_port:
            out.reject_external.append(f"{comment} -m addrtype --dst-type LOCAL {match} --dport {service.node_port} -j {target}")


def _external(out: Bundle, name: PortName, service: ServicePort, ends: Serving, match: str, node: NodeInfo, options: Options) -> None:
    entry = chain.external(name)
    for address in service.external_ips:
        out.services.append(f'-m comment --comment "{name} external IP" {match} -d {address} --dport {service.port} -j {entry}')
    limited = bool(service.source_ranges)
    for address in service.load_balancer_ips:
        target = chain.firewall(name) if limited else entry
        out.services.append(f'-m comment --comment "{name} loadbalancer IP" {match} -d {address} --dport {service.port} -j {target}')
        if limited:
            out.firewall.append(f'-m comment --comment "{name} traffic not accepted by {target}" {match} -d {address} '
                                f"--dport {service.port} -j DROP")
    if service.node_port:
        out.node_ports.append(f"-m comment --comment {name} {match} --dport {service.node_port} -j {entry}")
    rules: list[str] = []
    where = f"{name} external destinations"
    if not service.external_local:
        rules.append(f'-m comment --comment "masquerade traffic for {where}" -j {chain.MARK_MASQ}')
        rules += [f"-j {chain.cluster(name)}"] if ends.cluster else []
    else:
        if options.local_match and ends.cluster:
            rules.append(f'{options.local_match} -m comment --comment "pod traffic for {where}" -j {chain.cluster(name)}')
        rules.append(f'-m comment --comment "masquerade LOCAL traffic for {where}" -m addrtype --src-type LOCAL -j {chain.MARK_MASQ}')
        if ends.cluster:
            rules.append(f'-m comment --comment "route LOCAL traffic for {where}" -m addrtype --src-type LOCAL -j {chain.cluster(name)}')
        rules += [f"-j {chain.local(name)}"] if ends.local else []
    out.own[entry] = rules
    if limited and service.load_balancer_ips:
        gate = [f'-s {source} -m comment --comment "{name} loadbalancer IP" -j {entry}' for source in service.source_ranges]
        if node.ip and any(_within(node.ip, source) for source in service.source_ranges):
            # where the address is a local one, the node's own connections to it come from that address
            gate += [f'-s {_single(a)} -m comment --comment "{name} loadbalancer IP" -j {entry}' for a in service.load_balancer_ips]
        gate.append(f'-m comment --comment "other traffic to {name} will be dropped by {chain.FIREWALL}"')
        out.own[chain.firewall(name)] = gate


def _within(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def _masquerade_inside(name: PortName, service: ServicePort, options: Options, own_policy: bool) -> Iterator[str]:
    """Traffic to the cluster IP that does not come from a pod is masqueraded, so that answers come back this way."""
    if not own_policy:
        return
    protocol, to = service.protocol.lower(), f"-d {_single(service.cluster_ip)}"
    rest = f'-p {protocol} -m comment --comment "{name} cluster IP" -m {protocol} --dport {service.port} -j {chain.MARK_MASQ}'
    if options.masquerade_all:
        yield f"{to} {rest}"
    elif options.remote_match:
        yield f"{options.remote_match} {to} {rest}" if "-s " in options.remote_match else f"{to} {options.remote_match} {rest}"


def _balance(name: PortName, service: ServicePort, endpoints: Sequence[Endpoint], targets: Mapping[Endpoint, str], many: bool
             ) -> Iterator[str]:
    """First to where the client was before (affinity), else one in n, one in n-1, …, the last takes the rest."""
    if service.affinity_seconds:
        for endpoint in endpoints:
            target = targets[endpoint]
            comment = "" if many else f'-m comment --comment "{name} -> {endpoint}" '
            yield (f"{comment}-m recent --rcheck --seconds {service.affinity_seconds} --reap --name {target} {_whole(endpoint)} --rsource "
                   f"-j {target}")
    count = len(endpoints)
    for index, endpoint in enumerate(endpoints):
        comment = "" if many else f'-m comment --comment "{name} -> {endpoint}" '
        chance = f"-m statistic --mode random --probability {_probability(count - index)} " if index < count - 1 else ""
        yield f"{comment}{chance}-j {targets[endpoint]}"


@lru_cache(maxsize=4096)
def _probability(among: int) -> str:
    """As iptables-save shows one in so many: the kernel keeps 31 bits of it."""
    return f"{int((1 << 31) / among + 0.5) / (1 << 31):0.11f}"


def _endpoint(name: PortName, service: ServicePort, endpoint: Endpoint, target: str, many: bool) -> Iterator[str]:
    """A pod that reaches itself through the service is masqueraded (hairpin); everything is translated."""
    protocol = service.protocol.lower()
    comment = "" if many else f'-m comment --comment "{name}" '
    yield f"-s {_single(endpoint.ip)} {comment}-j {chain.MARK_MASQ}"
    remember = f"-m recent --set --name {target} {_whole(endpoint)} --rsource " if service.affinity_seconds else ""
    yield f"-p {protocol} {comment}{remember}-m {protocol} -j DNAT --to-destination {endpoint}"


def _single(ip: str) -> str:
    return f"{ip}/128" if ":" in ip else f"{ip}/32"


def _whole(endpoint: Endpoint) -> str:
    return f"--mask {'ffff:' * 7 + 'ffff' if ':' in endpoint.ip else '255.255.255.255'}"
