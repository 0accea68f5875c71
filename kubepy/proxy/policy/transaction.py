"""Input for `nft -f -`, one transaction: the elements that differ where only those do, else the whole table in place of the old one."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.proxy.policy.ruleset import Ruleset

TABLE = "inet kubepy-network-policy"
AT_ONCE = 200
"""Elements in one command."""


def change(old: Ruleset | None, new: Ruleset) -> str:
    """"" where nothing differs. None: it is not known what is there."""
    if old is None or old.chains != new.chains or _kinds(old) != _kinds(new):
        return replace(new)
    lines: list[str] = []
    for name, collection in new.collections.items():
        before = old.collections[name].elements
        lines += _elements("delete", name, (item.partition(" : ")[0] for item in before - collection.elements))
        lines += _elements("add", name, collection.elements - before)
    return "".join(f"{line}\n" for line in lines)


def replace(ruleset: Ruleset) -> str:
    """Adding first makes the deletion work where there is no table yet."""
    lines = [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]
    lines += [f"add chain {TABLE} {name} {rules[0]}" if rules and rules[0].startswith("{") else f"add chain {TABLE} {name}"
              for name, rules in ruleset.chains.items()]
    for name, collection in ruleset.collections.items():
        kind, _, declaration = collection.kind.partition(" ")
        lines.append(f"add {kind} {TABLE} {name} {declaration}")
        lines += _elements("add", name, collection.elements)
    lines += [f"add rule {TABLE} {name} {rule}" for name, rules in ruleset.chains.items() for rule in rules if not rule.startswith("{")]
    return "".join(f"{line}\n" for line in lines)


def remove() -> str:
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def _kinds(ruleset: Ruleset) -> dict[str, str]:
    return {name: collection.kind for name, collection in ruleset.collections.items()}


def _elements(verb: str, name: str, elements: Iterable[str]) -> list[str]:
    items = sorted(elements)
    return [f"{verb} element {TABLE} {name} {{ {', '.join(items[at:at + AT_ONCE])} }}" for at in range(0, len(items), AT_ONCE)]


