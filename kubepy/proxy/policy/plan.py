"""NetworkPolicy objects as a ruleset for one node: a pure function (networking.k8s.io/v1, as the API reference defines it).

Two base chains look at what is forwarded: `egress` at its source, `ingress` at its destination. By the address of a local pod that
policies select, a map leads to the chain of these policies (one for each set of policies that occurs), which goes through the chain
of each and drops what none accepts. Established connections and a pod's own to itself pass. What comes from or goes to the node
itself never gets here, as Kubernetes wants it. While a node has isolated pods, addresses of its pod ranges that no pod has reported
yet are closed in the direction concerned, so that a new pod is never open.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from kubepy.api.types import Object
from kubepy.proxy.policy.pods import Pod, Pods
from kubepy.proxy.policy.ruleset import DIRECTIONS, Collection, Direction, Ruleset

FAMILIES = (("ip", "ipv4_addr", "4"), ("ip6", "ipv6_addr", "6"))
NEIGHBOURS = "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
PRIORITY = {"egress": -10, "ingress": -5}


def plan(policies: Iterable[Object], pods: Iterable[Object], namespaces: Iterable[Object], node: str, ranges: Sequence[str], *,
         ipvs: bool = False) -> Ruleset:
    """`ranges` are the CIDRs from which this node's pods get their addresses. IPVS (with `ipvs`) takes what it balances in on its way to
    this machine and sends it out again: such packets are never forwarded."""
    return _Planner(Pods(pods, namespaces, node), ranges, ipvs).plan(policies)


class _Planner:
    def __init__(self, pods: Pods, ranges: Sequence[str], ipvs: bool) -> None:
        self._pods, self._ranges, self._ipvs = pods, ranges, ipvs
        self._collections: dict[str, Collection] = {}
        self._chains: dict[str, tuple[str, ...]] = {}
        self._isolated: dict[Direction, dict[str, set[str]]] = {"ingress": {}, "egress": {}}
        """Address of a local pod -> the chains of the policies that select it; "" stands for those without an address yet."""

    def plan(self, policies: Iterable[Object]) -> Ruleset:
        for policy in sorted(policies, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"])):
            self._add(policy)
        for direction in DIRECTIONS:
            self._add_pods(direction)
        self._add_base_chains()
        return Ruleset(self._collections, self._chains)

    def _add(self, policy: Object) -> None:
        namespace, spec = policy["metadata"]["namespace"], policy.get("spec") or {}
        local = [pod for pod in self._pods.select([namespace], spec.get("podSelector")) if pod.local]
        if not local:
            return
        for direction in DIRECTIONS:
            if direction.capitalize() in _types(spec):
                chain = f"{direction}-{_hash(namespace, policy['metadata']['name'])}"
                self._chains[chain] = tuple(line for number, rule in enumerate(spec.get(direction) or ())
                                            for line in self._rule(direction, f"{chain}-{number}", namespace, rule, local))
                for pod in local:
                    for address in pod.addresses or ("",):
                        self._isolated[direction].setdefault(address, set()).add(chain)

    def _rule(self, direction: Direction, name: str, namespace: str, rule: Mapping[str, Any], local: Sequence[Pod]) -> Iterator[str]:
        """One line for each way to match: peers times ports."""
        side, peers = ("saddr", rule.get("from")) if direction == "ingress" else ("daddr", rule.get("to"))
        matches, selected = self._peers(name, side, namespace, peers) if peers else ([""], self._pods.select(self._pods.namespaces({}), {}))
        ports = list(self._ports(name, rule.get("ports"), local if direction == "ingress" else selected))
        for peer in matches:
            for port in ports:
                families = {word for word, *_ in FAMILIES for match in (peer, port) if match.startswith(f"{word} ")}
                if len(families) < 2:
                    yield " ".join(filter(None, (peer, port, "accept")))

    def _peers(self, name: str, side: str, namespace: str, peers: Sequence[Mapping[str, Any]]) -> tuple[list[str], Iterable[Pod]]:
        """The matches of a rule's peers, and the pods among them."""
        matches: list[str] = []
        selected: list[Pod] = []
        for peer in peers:
            if block := peer.get("ipBlock"):
                word = "ip6" if ":" in block["cidr"] else "ip"
                excluded = f" {word} {side} != {{ {', '.join(block['except'])} }}" if block.get("except") else ""
                matches.append(f"{word} {side} {block['cidr']}{excluded}")
            else:
                spaces = self._pods.namespaces(peer["namespaceSelector"]) if peer.get("namespaceSelector") is not None else [namespace]
                selected += self._pods.select(spaces, peer.get("podSelector"))
        if any("ipBlock" not in peer for peer in peers):
            for word, kind, digit in FAMILIES:
                addresses = frozenset(a for pod in selected for a in pod.addresses if (":" in a) == (digit == "6"))
                self._collections[f"{name}-{digit}"] = Collection(f"set {{ type {kind} ; }}", addresses)
                matches.append(f"{word} {side} @{name}-{digit}")
        return matches, selected

    def _ports(self, name: str, ports: Sequence[Mapping[str, Any]] | None, targets: Iterable[Pod]) -> Iterator[str]:
        """The matches of a rule's ports; names are what each destination pod calls its own ports."""
        if not ports:
            yield ""
            return
        numbers: dict[str, list[str]] = {}
        names: set[tuple[str, str]] = set()
        for port in ports:
            protocol, wanted = port.get("protocol", "TCP").lower(), port.get("port")
            if wanted is None:
                yield f"meta l4proto {protocol}"
            elif isinstance(wanted, str):
                names.add((wanted, protocol))
            else:
                numbers.setdefault(protocol, []).append(f"{wanted}-{port['endPort']}" if port.get("endPort") else str(wanted))
        for protocol, values in numbers.items():
            yield f"{protocol} dport {{ {', '.join(values)} }}"
        if names:
            found = [(address, protocol, number) for pod in targets for title, protocol, number in pod.ports if (title, protocol) in names
                     for address in pod.addresses]
            for word, kind, digit in FAMILIES:
                elements = frozenset(f"{address} . {protocol} . {number}" for address, protocol, number in found
                                     if (":" in address) == (digit == "6"))
                self._collections[f"{name}-ports-{digit}"] = Collection(f"set {{ type {kind} . inet_proto . inet_service ; }}", elements)
                yield f"{word} daddr . meta l4proto . th dport @{name}-ports-{digit}"

    def _add_pods(self, direction: Direction) -> None:
        """The chain of each set of policies, and the map that leads to it."""
        verdicts: dict[str, set[str]] = {"4": set(), "6": set()}
        for address, chains in self._isolated[direction].items():
            if address:
                chain = f"{direction}-pods-{_hash(*sorted(chains))}"
                self._chains.setdefault(chain, (*(f"jump {one}" for one in sorted(chains)), "drop"))
                verdicts["6" if ":" in address else "4"].add(f"{address} : jump {chain}")
        for _, kind, digit in FAMILIES:
            self._collections[f"{direction}-pods-{digit}"] = Collection(f"map {{ type {kind} : verdict ; }}", frozenset(verdicts[digit]))

    def _add_base_chains(self) -> None:
        known = [address for pod in self._pods.local() for address in pod.addresses]
        for _, kind, digit in FAMILIES:
            mine = [address for address in known if (":" in address) == (digit == "6")]
            self._collections[f"local-{digit}"] = Collection(f"set {{ type {kind} ; }}", frozenset(mine))
            self._collections[f"self-{digit}"] = Collection(f"set {{ type {kind} . {kind} ; }}", frozenset(f"{a} . {a}" for a in mine))
        for direction in DIRECTIONS:
            side = "saddr" if direction == "egress" else "daddr"
            lines = ["ct state established,related accept", NEIGHBOURS]
            for word, _, digit in FAMILIES:
                lines.append(f"{word} saddr . {word} daddr @self-{digit} accept")
                lines.append(f"{word} {side} vmap @{direction}-pods-{digit}")
                if self._isolated[direction]:
                    lines += [f"{word} {side} {cidr} {word} {side} != @local-{digit} drop" for cidr in self._ranges
                              if (":" in cidr) == (digit == "6")]
            self._chains[direction] = (_base("forward", direction), *lines)
            if self._ipvs:
                self._chains[f"{direction}-balanced"] = (_base("output", direction), "fib saddr type local accept", *lines)


def _base(hook: str, direction: Direction) -> str:
    return f"{{ type filter hook {hook} priority {PRIORITY[direction]} ; policy accept ; }}"


def _types(spec: Mapping[str, Any]) -> Sequence[str]:
    """What the API server fills in where a policy leaves it out."""
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _hash(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:12]
