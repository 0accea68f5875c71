"""Input for iptables-restore, one text for each transaction: everything, or only the chains that differ from what was written last. Pure.

With `--noflush`, declaring a chain empties it (or makes it); other chains stay as they are. A chain that is no longer wanted is emptied
and deleted in the same transaction, after nothing jumps to it any more.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        comment = f'-m comment --comment "{self.comment}" ' if self.comment else ""
        return f"{self.match}{comment}-j {self.target}"


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
    Jump("filter", "INPUT", chain.LOCALNET, ""),
    Jump("filter", "OUTPUT", chain.LOCALNET, ""),
    Jump("nat", "OUTPUT", chain.SERVICES, "kubernetes service portals"),
    Jump("nat", "PREROUTING", chain.SERVICES, "kubernetes service portals"),
    Jump("nat", "POSTROUTING", chain.POSTROUTING, "kubernetes postrouting rules"),
)
CANARY_RULE = '-m comment --comment "here as long as nobody has flushed the rules" -j RETURN'
LONG, FEW = 50, 20
"""From how many rules on a chain is edited rather than written, and for at most how many edits."""
AT_ONCE = 2000
"""Chains of service ports that are written in one transaction."""
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


def full(rules: Rules, saved: Mapping[str, Saved], leading: Sequence[Jump] = JUMPS, at_once: int = AT_ONCE) -> Iterator[str]:
    """Writes every shared chain, the service ports' chains that are not there already as they should be, every missing jump and the
    canaries; deletes our chains that nothing needs any more."""

    def insertions(table: str, chains: Mapping[str, object]) -> list[str]:
        now = saved.get(table, Saved({}))
        return [f"-I {jump.source} 1 {jump.rule}" for jump in reversed(leading)
                if jump.table == table and jump.target in chains and not now.has(jump)]

    others: list[str] = []
    for table, chains in (("filter", rules.filter), ("mangle", {})):
        there = saved.get(table, Saved({})).chains
        wanted: Chains = {**chains, chain.CANARY: [CANARY_RULE]}
        if table != "mangle" or not there.get(chain.CANARY):
            stale = [name for name in there if name.startswith(chain.OWN_PREFIXES)]
            others += _table(table, wanted, wanted, stale, insertions(table, chains))
    there = saved.get("nat", Saved({})).chains
    own = [{name: lines for name, lines in chains.items() if there.get(name) != lines} for chains in rules.own.values()]
    known = {name for chains in rules.own.values() for name in chains}
    stale = [name for name in there if name.startswith(chain.OWN_PREFIXES) and name not in known]
    shared = {**rules.nat, chain.CANARY: [CANARY_RULE]}
    return _transactions(others, shared, shared, insertions("nat", rules.nat), own, stale, at_once)


def partial(old: Rules, new: Rules, at_once: int = AT_ONCE) -> Iterator[str]:
    """Writes the chains that differ; nothing where nothing does. A long chain of which little differs is not written anew: its rules are
    alternatives whose order does not matter, but for the last one, which stays last."""
    own: list[Chains] = []
    gone: list[str] = []
    for port, chains in new.own.items():
        if (kept_own := old.own.get(port, {})) is not chains:
            own.append({name: lines for name, lines in chains.items() if kept_own.get(name) != lines})
            gone += [name for name in kept_own if name not in chains]
    for port in old.own.keys() - new.own.keys():
        gone += old.own[port]
    out: list[str] = []
    for table, before, after in (("filter", old.filter, new.filter), ("nat", old.nat, new.nat)):
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
        if table == "filter":
            out += _table(table, after, changed, (), edits) if changed or edits else []
        elif out or changed or edits or gone or any(own):
            yield from _transactions(out, after, changed, edits, own, gone, at_once)


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


def _transactions(others: list[str], shared: Mapping[str, Sequence[str]], changed: Iterable[str], extra: Sequence[str],
                  own: Iterable[Chains], stale: Sequence[str], at_once: int) -> Iterator[str]:
    """One where few chains are written. Else service ports' chains come first, whole ports at a time (they may be there before anything
    leads to them), then the one that leads to them, and what is no longer wanted goes last.

    iptables-nft keeps the names that a transaction mentions in a list, in their order, and looks each up from its beginning: the time
    grows with the square of their number. Each transaction costs the kernel a look at all chains of the table."""
    wanted: Chains = {name: list(rules) for name, rules in shared.items()}
    names = list(changed)
    groups = [chains for chains in own if chains]
    if sum(map(len, groups)) > at_once:
        yield _text(_table("nat", wanted, [chain.MARK_MASQ], (), ()))
        for part in _parts(groups, at_once):
            yield _text(_ports(part))
    else:
        for chains in groups:
            wanted.update(chains)
            names += chains
    later: list[str] = []
    if len(stale) > at_once:
        later = sorted(stale, key=lambda name: (name.startswith(chain.ENDPOINT), not name.startswith(chain.ENTRIES)))
        stale = ()
    if last := others + (_table("nat", wanted, names, stale, extra) if names or stale or extra else []):
        yield _text(last)
    for start in range(0, len(later), at_once):
        yield _text(_table("nat", {}, (), later[start:start + at_once], ()))


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _parts(groups: Iterable[Chains], at_once: int) -> Iterator[Chains]:
    """Some groups together, with about so many chains."""
    part: Chains = {}
    for chains in groups:
        part.update(chains)
        if len(part) >= at_once:
            yield part
            part = {}
    if part:
        yield part


def _ports(chains: Chains) -> list[str]:
    """Chains to endpoints each with its rules, the last name first: so it is always found at the beginning of iptables' list."""
    ends = sorted((name for name in chains if name.startswith(chain.ENDPOINT)), reverse=True)
    others = sorted(name for name in chains if not name.startswith(chain.ENDPOINT))
    lines = ["*nat"]
    for name in ends:
        lines += [f":{name} - [0:0]", *(f"-A {name} {rule}" for rule in chains[name])]
    lines += [f":{name} - [0:0]" for name in others]
    lines += [f"-A {name} {rule}" for name in others for rule in chains[name]]
    return [*lines, "COMMIT"]


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
