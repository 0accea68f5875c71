"""Sets of field paths in their wire form (`FieldsV1`), used as they are stored: nothing is decoded or encoded.

A node is a dict of child nodes under `f:NAME`, `k:{…}`, `v:…` or `i:N`. A path is a member when its node is empty or holds `.`.
Every operation returns a set that may share nodes with its arguments; nodes are never changed in place.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from kubepy.api.apply.shape import Shape

FieldSet = dict[str, Any]
"""The root is never a member itself: an empty root is the empty set."""

_MEMBER: FieldSet = {}


def is_member(node: FieldSet) -> bool:
    return not node or "." in node


def node_of(member: bool, children: FieldSet) -> FieldSet | None:
    """The node with these children; None when nothing is left of it."""
    if member:
        return {".": _MEMBER, **children} if children else _MEMBER
    return children or None


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    if not a or a is b:
        return b
    if not b:
        return a
    out = dict(a)
    for key, node in b.items():
        mine = out.get(key)
        out[key] = node if mine is None else _union_nodes(mine, node)
    return out


def _union_nodes(a: FieldSet, b: FieldSet) -> FieldSet:
    if not a and not b:
        return _MEMBER
    if not a or not b:
        return {".": _MEMBER, **a, **b}
    return union(a, b)


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """The members of `a` that are not members of `b`."""
    return {} if a == b else _difference(a, b)


def _difference(a: FieldSet, b: FieldSet) -> FieldSet:
    return _rebuild(a, b, lambda mine, other: node_of(is_member(mine) and not is_member(other), _difference(mine, other)))


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    out: FieldSet = {}
    for key, node in a.items():
        other = b.get(key)
        if key == "." or other is None:
            continue
        kept = node_of(is_member(node) and is_member(other), intersection(node, other))
        if kept is not None:
            out[key] = kept
    return out


def recursive_difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """`a` without the members of `b` and everything below them."""
    return _rebuild(a, b, lambda mine, other: None if is_member(other) else node_of(is_member(mine), recursive_difference(mine, other)))


def _rebuild(a: FieldSet, b: FieldSet, combine: Any) -> FieldSet:
    if b.keys().isdisjoint(a):
        return {key: node for key, node in a.items() if key != "."} if "." in a else a
    out: FieldSet = {}
    for key, node in a.items():
        if key == ".":
            continue
        other = b.get(key)
        if other is None:
            out[key] = node
        elif (node or other) and (kept := combine(node, other)) is not None:  # a member of both goes
            out[key] = kept
    return out


def with_named_fields(fields: FieldSet, shape: Shape | None) -> FieldSet:
    """The same set with every struct field on the way to a member made a member too (upstream's EnsureNamedFieldsAreMembers)."""
    if not any(fields.values()):  # nothing but leaves
        return fields
    out: FieldSet = {}
    for key, node in fields.items():
        if key == "." or not node:
            out[key] = node
            continue
        named = key.startswith("f:") and shape is not None and shape.structure == "map" and key[2:] in shape.fields
        below = child_shape(shape, key)
        inner = with_named_fields(node, below)
        out[key] = {".": _MEMBER, **inner} if named else inner
    return out


def child_shape(shape: Shape | None, key: str) -> Shape | None:
    if shape is None:
        return None
    return shape.field(key[2:]) if key.startswith("f:") else shape.element


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Each member as messages show it (`.spec.ports[port=80,protocol="TCP"].targetPort`): a level's members, then what is below."""
    ordered = sorted((key for key in fields if key != "."), key=_order)
    for key in ordered:
        if is_member(fields[key]):
            yield prefix + show_element(key)
    for key in ordered:
        if fields[key]:
            yield from paths(fields[key], prefix + show_element(key))


def _order(key: str) -> tuple[int, Any]:
    """Path elements in upstream's order: names, keys, values, indexes."""
    return ("fkvi".index(key[0]), int(key[2:]) if key[0] == "i" else key[2:])


def show_element(key: str) -> str:
    text = key[2:]
    if key[0] == "f":
        return f".{text}"
    if key[0] == "k":
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in sorted(orjson.loads(text).items())) + "]"
    return f"[={text}]" if key[0] == "v" else f"[{text}]"
