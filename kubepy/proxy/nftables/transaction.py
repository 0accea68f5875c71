"""Input for `nft -f -`: everything, or only what differs from what was written last. Pure.

One input is one transaction. What is no longer wanted is deleted by a second one (`stale`), after nothing refers to it any more.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubepy.proxy.nftables import name
from kubepy.proxy.nftables.kernel import Present
from kubepy.proxy.nftables.rule import Bundle, Collection, Table, endpoint_map, ip

AT_ONCE = 200
"""Elements in one command."""


def full(table: Table, now: Present) -> str:
    """Writes everything, whatever is there: but clients that the kernel remembers for session affinity stay remembered."""
    where = f"{ip(table.family)} {name.TABLE}"
    out = [f'add table {where} {{ comment "rules for kube-proxy" ; }}']
    endpoints = {one: Collection(endpoint_map(table.family, protocol)) for one, protocol in table.maps.items()}
    for bundle in table.own.values():
        for one, elements in bundle.endpoints.items():
            endpoints[one].elements.update(elements)
    collections = [*table.collections.items(), *endpoints.items(),
                   *(item for bundle in table.own.values() for item in bundle.collections.items())]
    for one, collection in collections:
        if one not in now.collections:
            out.append(_declare(where, one, collection))
        elif not collection.dynamic:
            out.append(f"flush {_kind(collection)} {where} {one}")
    chains = [*table.chains.items(), *(item for bundle in table.own.values() for item in bundle.chains.items())]
    for one, rules in chains:
        out.append(f"add chain {where} {one} {rules[0]}" if _is_base(rules) else f"add chain {where} {one}")
        if one in now.chains:
            out.append(f"flush chain {where} {one}")
    for one, rules in chains:
        out += _rules(where, one, rules)
    for one, collection in collections:
        out += _elements("add", where, one, collection.elements)
    return "\n".join(out) + "\n"


def partial(old: Table, new: Table) -> str:
    """Writes what differs; "" where nothing does. Base chains never differ."""
    where = f"{ip(new.family)} {name.TABLE}"
    first = [_declare(where, one, Collection(endpoint_map(new.family, protocol))) for one, protocol in new.maps.items()
             if one not in old.maps]
    rules: list[str] = []
    last: list[str] = []
    for port in old.own.keys() - new.own.keys():
        _change_endpoints(where, old.own[port], Bundle(), last)
    for port, bundle in new.own.items():
        before = old.own.get(port)
        if before is not bundle:
            _change(where, before or Bundle(), bundle, first, rules, last)
    for one, collection in new.collections.items():
        _update(where, one, old.collections[one].elements, collection.elements, last)
    return "\n".join([*first, *rules, *last]) + "\n" if rules or last else ""


def stale(old: Table, new: Table) -> str:
    """Deletes what only the old table needed."""
    chains: list[str] = []
    collections: dict[str, Collection] = {}
    for port, bundle in old.own.items():
        after = new.own.get(port)
        if after is not bundle:
            chains += [one for one in bundle.chains if after is None or one not in after.chains]
            collections.update({one: kept for one, kept in bundle.collections.items() if after is None or one not in after.collections})
    return delete(new, chains, {one: _kind(kept) for one, kept in collections.items()})


def left_over(table: Table, now: Present) -> str:
    """Deletes what an earlier proxy has left in the table."""
    chains, collections = set(table.chains), {*table.collections, *table.maps}
    for bundle in table.own.values():
        chains.update(bundle.chains)
        collections.update(bundle.collections)
    return delete(table, sorted(now.chains - chains), {one: kind for one, kind in now.collections.items() if one not in collections})


def delete(table: Table, chains: Iterable[str], collections: Mapping[str, str]) -> str:
    """Chains are emptied first: they may refer to each other and to the collections, and these to chains."""
    where = f"{ip(table.family)} {name.TABLE}"
    gone = list(chains)
    lines = [f"flush chain {where} {one}" for one in gone]
    lines += [f"delete {kind} {where} {one}" for one, kind in collections.items()]
    lines += [f"delete chain {where} {one}" for one in gone]
    return "\n".join(lines) + "\n" if lines else ""


def _change(where: str, old: Bundle, new: Bundle, first: list[str], rules: list[str], last: list[str]) -> None:
    _change_endpoints(where, old, new, last)
    for one, collection in new.collections.items():
        before = old.collections.get(one)
        if before is None:
            first.append(_declare(where, one, collection))
            last += _elements("add", where, one, collection.elements)
        elif before.declaration != collection.declaration:
            # Another kind of map under the same name, or another timeout: it goes with the chain that uses it, and comes back.
            rules.append(f"delete {_kind(before)} {where} {one}")
            rules.append(_declare(where, one, collection))
            last += _elements("add", where, one, collection.elements)
        else:
            _update(where, one, before.elements, collection.elements, last)
    redeclared = any(one in old.collections and old.collections[one].declaration != kept.declaration
                     for one, kept in new.collections.items())
    written = [one for one, lines in new.chains.items() if redeclared or old.chains.get(one) != lines]
    first += [f"add chain {where} {one}" for one in written]
    first += [f"flush chain {where} {one}" for one in written if one in old.chains]
    if redeclared:
        first += [f"flush chain {where} {one}" for one in old.chains if one not in written]
    for one in written:
        rules += _rules(where, one, new.chains[one])


def _change_endpoints(where: str, old: Bundle, new: Bundle, out: list[str]) -> None:
    for one in old.endpoints.keys() | new.endpoints.keys():
        _update(where, one, old.endpoints.get(one, {}), new.endpoints.get(one, {}), out)


def _update(where: str, one: str, old: Mapping[str, str], new: Mapping[str, str], out: list[str]) -> None:
    if old == new:
        return
    gone = dict(old.items() - new.items())
    come = dict(new.items() - old.items())
    out += _elements("delete", where, one, dict.fromkeys(sorted(gone), ""))
    out += _elements("add", where, one, dict(sorted(come.items())))


def _elements(verb: str, where: str, one: str, elements: Mapping[str, str]) -> list[str]:
    items = [f"{key} : {value}" if value else key for key, value in elements.items()]
    return [f"{verb} element {where} {one} {{ {', '.join(items[start:start + AT_ONCE])} }}" for start in range(0, len(items), AT_ONCE)]


def _declare(where: str, one: str, collection: Collection) -> str:
    kind, _, rest = collection.declaration.partition(" ")
    return f"add {kind} {where} {one} {rest}"


def _kind(collection: Collection) -> str:
    return collection.declaration.partition(" ")[0]


def _is_base(rules: list[str]) -> bool:
    return bool(rules) and rules[0].startswith("{")


def _rules(where: str, one: str, rules: list[str]) -> list[str]:
    return [f"add rule {where} {one} {rule}" for rule in (rules[1:] if _is_base(rules) else rules)]
