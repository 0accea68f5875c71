"""The most an expression can cost (`cel-go/checker/cost.go`, `k8s.io/apiserver/pkg/cel/library/cost.go`), in cel-go's units.

Sizes come from schemas: what has no bounds is as large as a request may be. Only upper estimates are kept.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from kubepy.api.cel.tree import Expr
from kubepy.api.cel.types import escape
from kubepy.api.structural.node import Node

MAX_REQUEST = 3 * 1024 * 1024
LIMIT = 10_000_000
"""Of one expression (StaticEstimatedCostLimit)."""
TOTAL_LIMIT = 100_000_000
"""Of all expressions of a schema (StaticEstimatedCRDCostLimit)."""
UNBOUNDED = (1 << 64) - 1
_TRAVERSAL, _REGEX = 0.1, 0.25
_COMPARED = frozenset(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"))
_TRAVERSES = frozenset(("isSorted", "sum", "min", "max", "lowerAscii", "upperAscii", "replace", "split", "substring", "trim", "join", "url",
                        "isURL", "quantity", "isQuantity", "ip", "isIP", "cidr", "isCIDR", "semver", "isSemver", "indexOf", "lastIndexOf"))
_MIN_SIZES = {"string": 2, "boolean": 4, "array": 2, "object": 2}


class Estimate(NamedTuple):
    """What evaluating a node costs, how large its value is (1 for what has no size), and its schema where it is known."""

    cost: float
    size: float = 1
    node: Node | None = None
    key: bool = False
    """The value is a key of the map that `node` describes."""


def min_size(node: Node) -> int:
    """Bytes that a value has at least in JSON."""
    if node.type == "object" and not node.additional:
        required = node.raw.get("required") or ()
        return 2 + sum(len(name) + 4 + min_size(node.properties[name]) for name in required if name in node.properties)
    return _MIN_SIZES.get(node.type, 1)


def max_size(node: Node) -> int:
    """Characters, items or keys that a value has at most; 1 for what has no size."""
    raw = node.raw
    if node.type == "string":
        if raw.get("maxLength") is not None:
            return int(raw["maxLength"])
        if raw.get("enum"):
            return max(len(str(item)) for item in raw["enum"])
        return MAX_REQUEST - 2
    if node.type == "array":
        if raw.get("maxItems") is not None:
            return int(raw["maxItems"])
        return (MAX_REQUEST - 2) // ((min_size(node.items) if node.items is not None else 1) + 1)
    if node.type == "object" and node.additional is not None:
        if raw.get("maxProperties") is not None:
            return int(raw["maxProperties"])
        return (MAX_REQUEST - 2) // (min_size(node.additional) + 6)
    return MAX_REQUEST - 2 if node.int_or_string or not node.type else 1


def cardinality(node: Node) -> int:
    """How often a value can stand in a request when nothing else bounds it."""
    return MAX_REQUEST // (min_size(node) + 1)


def estimate(expr: Expr, variables: Mapping[str, Node]) -> int:
    """The highest cost of an expression whose variables have these schemas."""
    names = {name: Estimate(1, max_size(node), node) for name, node in variables.items()}
    return min(UNBOUNDED, math.ceil(_cost(expr, names).cost))


def _cost(expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
    match expr.kind:
        case "const":
            return Estimate(0, len(expr.value) if isinstance(expr.value, bytes) else 1)
        case "ident":
            found = names.get(expr.name)
            return found._replace(cost=1) if found is not None else Estimate(1)
        case "select":
            return _select(expr, names)
        case "list":
            items = [_cost(item, names) for item in expr.args]
            return Estimate(10 + sum(item.cost for item in items), len(items), None)
        case "struct":
            return Estimate((30 if not expr.name else 40) + sum(_cost(item, names).cost for item in expr.args), len(expr.args))
        case "comprehension":
            return _comprehension(expr, names)
    return _call(expr, names)


def _select(expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
    assert expr.target is not None
    base = _cost(expr.target, names)
    if expr.value:
        return Estimate(base.cost + 1)
    child = _child(base, expr.name)
    return Estimate(base.cost + 1, max_size(child) if child is not None else UNBOUNDED, child)


def _child(base: Estimate, name: str) -> Node | None:
    if base.node is None:
        return None
    return next((child for key, child in base.node.properties.items() if escape(key) == name), base.node.additional)


def _comprehension(expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
    parts = expr.parts
    over = _cost(parts["range"], names)
    element = Estimate(1, UNBOUNDED)
    if over.node is not None and over.node.type == "array" and over.node.items is not None:
        element = Estimate(1, max_size(over.node.items), over.node.items)
    elif over.node is not None and over.node.additional is not None:
        element = Estimate(1, MAX_REQUEST - 2)
    elif parts["range"].kind == "list":
        element = Estimate(1, max((_cost(item, names).size for item in parts["range"].args), default=1))
    init = _cost(parts["init"], names)
    inner = {**names, expr.name: element, expr.accumulator: Estimate(1, over.size)}
    each = _cost(parts["condition"], inner).cost + _cost(parts["step"], inner).cost
    result = _cost(parts["result"], inner)
    return Estimate(over.cost + init.cost + over.size * each + result.cost, result.size, None)


def _call(expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
    operands = [*([expr.target] if expr.target is not None else []), *expr.args]
    costs = [_cost(item, names) for item in operands]
    total = sum(item.cost for item in costs)
    name = expr.name
    sizes = [item.size for item in costs]
    if name in ("_&&_", "_||_", "@not_strictly_false", "!_"):
        return Estimate(total + (1 if name == "!_" else 0))
    if name == "_?_:_":
        return Estimate(costs[0].cost + max(costs[1].cost, costs[2].cost), max(sizes[1:]), costs[1].node)
    if name in _COMPARED:
        return Estimate(total + max(1, min(sizes) * _TRAVERSAL))
    if name == "_+_":
        size = min(UNBOUNDED, sum(sizes))
        return Estimate(total + max(1, size * _TRAVERSAL), size)
    if name in ("startsWith", "endsWith"):
        return Estimate(total + max(1, sizes[-1] * _TRAVERSAL))
    if name == "contains":
        return Estimate(total + max(1, sizes[0] * _TRAVERSAL) * max(1, sizes[1] * _TRAVERSAL))
    if name in ("matches", "find", "findAll"):
        return Estimate(total + max(1, (sizes[0] + 1) * _TRAVERSAL) * max(1, sizes[1] * _REGEX), sizes[0])
    if name == "@in":
        return Estimate(total + (sizes[1] if costs[1].node is None or costs[1].node.type == "array" else 1))
    if name == "_[_]":
        node = costs[0].node
        child = (node.items or node.additional) if node is not None else None
        return Estimate(total + 1, max_size(child) if child is not None else UNBOUNDED, child)
    if name in _TRAVERSES:
        return Estimate(total + max(1, sizes[0] * _TRAVERSAL), sizes[0])
    sized = name in ("string", "bytes", "format")
    return Estimate(total + 1, UNBOUNDED if sized else 1)


def over_budget(title: str, cost: int, limit: int) -> str:
    """What is said of a cost beyond its limit."""
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (f"{title} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength "
            "where arrays, maps, and strings are declared)")
