"""Input for iptables-restore: everything, or only the chains that differ from what was written last. Pure.

With `--noflush`, declaring a chain empties it (or makes it); other chains stay as they are. A chain that is no longer wanted is emptied
and deleted in the same transaction, after nothing jumps to it any more.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubepy.proxy.iptables import chain
from kubepy.proxy.iptables.rule import Chains, Rules


@dataclass(frozen=True, slots=True)
class Jump:
    """A rule in one of the kernel's own chains that leads to one of ours."""

    table: str
    source: str
    target: str
    comment: str
    match: str = ""

    @property
    def rule(self) -> str:
        return f'{self.match}-m comment --comment "{self.comment}" -j {self.target}'


_NEW = "-m conntrack --ctstate NEW "
JUMPS = (
    Jump("filter", "INPUT", chain.EXTERNAL_SERVICES, "kubernetes externally-visible service portals", _NEW),
    Jump("filter", "FORWARD", chain.EXTERNAL_SERVICES, "kubernetes externally-visible service portals", _NEW),
    Jump("filter", "INPUT", chain.NODE_PORTS, "kubernetes health check service ports"),
    Jump("filter", "FORWARD", chain.SERVICES, "kubernetes service portals", _NEW),
    Jump("filter", "OUTPUT", chain.SERVICES, "kubernetes service portals", _NEW),
    Jump("filter", "FORWARD", chain.FORWARD, "kubernetes forwarding rules"),
    Jump("filter", "INPUT", chain.FIREWALL, "kubernetes load balancer firewall", _NEW),
    Jump("filter", "OUTPUT", chain.FIREWALL, "kubernetes load balancer firewall", _NEW),
    Jump("filter", "FORWARD", chain.FIREWALL, "kubernetes load balancer firewall", _NEW),
    Jump("nat", "OUTPUT", chain.SERVICES, "kubernetes service portals"),
    Jump("nat", "PREROUTING", chain.SERVICES, "kubernetes service portals"),
    Jump("nat", "POSTROUTING", chain.POSTROUTING, "kubernetes postrouting rules"),
)
CANARY_RULE = '-m comment --comment "here as long as nobody has flushed the rules" -j RETURN'
LONG, FEW = 50, 20
"""From how many rules on a chain is edited rather than written, and for at most how many edits."""
TABLES = ("filter", "nat", "mangle")


@dataclass(frozen=True, slots=True)
class Saved:
    """What iptables-save showed of one table: chain -> rules (without `-A CHAIN`)."""

    chains: Mapping[str, Sequence[str]]

    def has(self, jump: Jump) -> bool:
        return any(f"-j {jump.target}" in rule and jump.comment in rule for rule in self.chains.get(jump.source, ()))


def parse_save(text: str) -> dict[str, Saved]:
    """The output of iptables-save, by table."""
    found: dict[str, Saved] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = {}
            found[line[1:]] = Saved(chains)
        elif line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif line.startswith("-A "):
            _, name, rule = line.split(" ", 2)
            chains.setdefault(name, []).append(rule)
    return found


def full(rules: Rules, saved: Mapping[str, Saved], leading: Sequence[Jump] = JUMPS) -> str:
    """Writes every chain, every missing jump and the canaries; deletes our chains that nothing needs any more."""
    out: list[str] = []
    for table, chains in (("filter", rules.filter), ("nat", rules.whole_nat()), ("mangle", {})):
        now = saved.get(table, Saved({}))
        wanted: Chains = {**chains, chain.CANARY: [CANARY_RULE]}
        stale = [name for name in now.chains if name.startswith(chain.OWN_PREFIXES) and name not in wanted]
        jumps = [jump for jump in leading if jump.table == table and not now.has(jump)]
        lines = _table(table, wanted, wanted, stale, [f"-I {jump.source} 1 {jump.rule}" for jump in reversed(jumps)])
        # Zeroing the counters is not the point: a command that concerns all chains keeps iptables-nft from looking each chain's name
        # up in a list, once for every rule (1,000 services: 1.2 s instead of 6.6).
        out += [lines[0], "-Z", *lines[1:]]
    return "\n".join(out) + "\n"


def partial(old: Rules, new: Rules) -> str:
    """Writes the chains that differ; "" where nothing does. A long chain of which little differs is not written anew: its rules are
    alternatives whose order does not matter, but for the last one, which stays last."""
    out: list[str] = []
    own_before: Chains = {}
    own_after: Chains = {}
    for port, chains in new.own.items():
        if (kept_own := old.own.get(port)) is not chains:
            own_before.update(kept_own or {})
            own_after.update(chains)
    for port in old.own.keys() - new.own.keys():
        own_before.update(old.own[port])
    for table, before, after in (("filter", old.filter, new.filter), ("nat", {**old.nat, **own_before}, {**new.nat, **own_after})):
        changed: list[str] = []
        edits: list[str] = []
        for name, rules in after.items():
            kept = before.get(name)
            if kept is rules or kept == rules:
                continue
            lines = _edits(name, kept, rules) if kept is not None else None
            if lines is None:
                changed.append(name)
            else:
                edits += lines
        stale = [name for name in before if name not in after]
        if changed or stale or edits:
            out += _table(table, after, changed, stale, edits)
    return "\n".join(out) + "\n" if out else ""


def _edits(name: str, old: Sequence[str], new: Sequence[str]) -> list[str] | None:
    """Deletions and insertions that make one list of alternatives of the other; None where writing the chain is simpler."""
    if len(new) < LONG or old[-1:] != new[-1:]:
        return None
    gone, come = Counter(old), Counter(new)
    removed, added = list((gone - come).elements()), list((come - gone).elements())
    if len(removed) + len(added) > FEW:
        return None
    return [*(f"-D {name} {rule}" for rule in removed), *(f"-I {name} 1 {rule}" for rule in added)]


def cleanup(saved: Mapping[str, Saved]) -> str:
    """Takes out the jumps, then all our chains. What the kubelet shares with us (KUBE-MARK-MASQ has no other owner) goes too."""
    out: list[str] = []
    for table in TABLES:
        now = saved.get(table)
        if now is None:
            continue
        gone = [name for name in now.chains if name in chain.ALL or name.startswith(chain.OWN_PREFIXES)]
        leading = [f"-D {source} {rule}" for source, rules in now.chains.items() if source not in gone
                   for rule in rules if any(rule.endswith(f"-j {name}") for name in gone)]
        if gone:
            out += [f"*{table}", *leading, *(f":{name} - [0:0]" for name in gone), *(f"-X {name}" for name in gone), "COMMIT"]
    return "\n".join(out) + "\n" if out else ""


def _table(table: str, chains: Mapping[str, Sequence[str]], write: Iterable[str], stale: Sequence[str], extra: Sequence[str]) -> list[str]:
    names = list(write)
    lines = [f"*{table}"]
    lines += [f":{name} - [0:0]" for name in names]
    lines += [f":{name} - [0:0]" for name in stale]
    for name in names:
        lines += [f"-A {name} {rule}" for rule in chains[name]]
    lines += extra
    lines += [f"-X {name}" for name in stale]
    lines.append("COMMIT")
    return lines
