"""The most an expression can cost (`cel-go/checker/cost.go`, `k8s.io/apiserver/pkg/cel/library/cost.go`), in cel-go's units.

Sizes come from schemas: what has no bounds is as large as a request may be. Only upper estimates are kept.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from kubepy.api.cel.check import Checked
from kubepy.api.cel.kind import Kind
from kubepy.api.cel.meter import CHECK, REGEX, TRAVERSAL
from kubepy.api.cel.schema import escape, visible
from kubepy.api.cel.tree import Expr
from kubepy.api.structural.node import Node

MAX_REQUEST = 3 * 1024 * 1024
LIMIT = 10_000_000
"""Of one expression (StaticEstimatedCostLimit)."""
TOTAL_LIMIT = 100_000_000
"""Of all expressions of a schema (StaticEstimatedCRDCostLimit)."""
UNBOUNDED = (1 << 64) - 1
_SCALARS = frozenset(("bool", "int", "uint", "double", "null_type", "duration", "timestamp"))
_TEXTS = frozenset(("string", "bytes"))
_COMPARED = frozenset(("_<_", "_<=_", "_>_", "_>=_"))
_SAME_SIZE = frozenset(("lowerAscii", "upperAscii", "substring", "trim", "url"))
_PARSED = frozenset(("quantity", "isQuantity", "semver", "isSemver", "cidr", "isCIDR", "isIP", "isURL"))
_MIN_SIZES = {"string": 2, "boolean": 4, "array": 2, "object": 2}


class Estimate(NamedTuple):
    """What evaluating a node costs; how large its value is, where that follows from the expression; its schema, where it is known."""

    cost: float
    size: float | None = None
    node: Node | None = None
    times: float = 0
    """What the node's schema says of its size, where the value is a key."""


def min_size(node: Node) -> int:
    """Bytes that a value has at least in JSON."""
    if node.type == "object" and not node.additional:
        required = node.raw.get("required") or ()
        return 2 + sum(len(name) + 4 + min_size(node.properties[name]) for name in required if name in node.properties)
    return _MIN_SIZES.get(node.type, 1)


def max_size(node: Node) -> int:
    """Characters, items or keys that a value has at most; 0 for what has no size."""
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
    return MAX_REQUEST - 2 if node.int_or_string or not node.type else 0


def cardinality(node: Node) -> int:
    """How often a value can stand in a request when nothing else bounds it."""
    return MAX_REQUEST // (min_size(node) + 1)


def estimate(checked: Checked, root: Node) -> int:
    """The highest cost of an expression about a value of a schema (`self`, and `oldSelf`)."""
    return min(UNBOUNDED, math.ceil(_Estimator(checked, root).cost(checked.tree.root, {}).cost))


def _part(size: float, factor: float) -> float:
    return min(UNBOUNDED, math.ceil(size * factor))


class _Estimator:
    def __init__(self, checked: Checked, root: Node) -> None:
        self._kinds = checked.kinds
        self._root = root

    def _kind(self, expr: Expr) -> Kind:
        return self._kinds[expr.id]

    def _size(self, expr: Expr, found: Estimate) -> float:
        if found.size is not None:
            return found.size
        if found.times:
            return found.times
        if found.node is not None:
            return max_size(found.node)
        return 1 if self._kind(expr).form in _SCALARS else UNBOUNDED

    def cost(self, expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
        match expr.kind:
            case "const":
                return Estimate(0, len(expr.value) if isinstance(expr.value, (str, bytes)) else None)
            case "ident":
                known = names.get(expr.name)
                return known._replace(cost=1) if known is not None else Estimate(1, None, self._root)
            case "select":
                return self._select(expr, names)
            case "list":
                return Estimate(10 + sum(self.cost(item, names).cost for item in expr.args), len(expr.args))
            case "map" | "struct":
                parts = [*(entry.key for entry in expr.entries if entry.key is not None), *(entry.value for entry in expr.entries)]
                base = 40 if expr.kind == "struct" else 30
                return Estimate(base + sum(self.cost(part, names).cost for part in parts), len(expr.entries))
            case "comprehension":
                return self._comprehension(expr, names)
        return self._call(expr, names)

    def _select(self, expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
        assert expr.target is not None
        base = self.cost(expr.target, names)
        if expr.value:
            return Estimate(base.cost)
        own = 1 if self._kind(expr.target).form in ("map", "struct", "param") else 0
        return Estimate(base.cost + own, None, _child(base.node, expr.name))

    def _comprehension(self, expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
        parts = expr.parts
        over, init = self.cost(parts["range"], names), self.cost(parts["init"], names)
        times = self._size(parts["range"], over)
        item = Estimate(1, None, over.node.items or over.node.additional if over.node is not None else None)
        listed = self._kind(parts["range"]).form == "list"
        element = item if listed else Estimate(1, None, None, MAX_REQUEST - 2)
        if not listed and over.node is None:
            element = Estimate(1)
        inner = {**names, expr.name: element}
        if expr.value:
            inner |= {expr.name: Estimate(1, 1) if listed else element, expr.value: item}
        each = self.cost(parts["condition"], inner).cost + self.cost(parts["step"], inner).cost
        result = self.cost(parts["result"], inner)
        return Estimate(min(UNBOUNDED, over.cost + init.cost + times * each + result.cost), times)

    def _call(self, expr: Expr, names: Mapping[str, Estimate]) -> Estimate:
        operands = [*([expr.target] if expr.target is not None else []), *expr.args]
        costs = [self.cost(item, names) for item in operands]
        if expr.name == "_?_:_":
            size = max(self._size(operands[1], costs[1]), self._size(operands[2], costs[2]))
            return Estimate(costs[0].cost + max(costs[1].cost, costs[2].cost), size, costs[1].node)
        total = sum(item.cost for item in costs)
        if expr.name in ("_&&_", "_||_"):
            return Estimate(total)
        own = self._own(expr, operands, costs, [self._size(item, found) for item, found in zip(operands, costs, strict=True)])
        return own._replace(cost=min(UNBOUNDED, total + own.cost))

    def _own(self, expr: Expr, operands: list[Expr], costs: list[Estimate], sizes: list[float]) -> Estimate:
        """The call itself."""
        name = expr.name
        kinds = [self._kind(item) for item in operands]
        if name in ("_==_", "_!=_") or (name in _COMPARED and any(kind.form in _TEXTS or kind.form == "dyn" for kind in kinds)):
            return Estimate(_part(min(sizes), TRAVERSAL))
        if name == "_+_":
            size = min(UNBOUNDED, sum(sizes))
            if kinds[0].form == "list":
                return Estimate(1, size)
            return Estimate(_part(size, TRAVERSAL), size) if kinds[0].form in (*_TEXTS, "dyn") else Estimate(1)
        if name in ("_[_]", "_[?_]"):
            node = costs[0].node
            return Estimate(1, None, (node.items or node.additional) if node is not None else None)
        if name == "@in":
            return Estimate(sizes[1] if kinds[1].form != "map" else 1)
        if name in ("startsWith", "endsWith"):
            return Estimate(_part(sizes[1], TRAVERSAL))
        if name == "contains":
            return Estimate(min(UNBOUNDED, _part(sizes[0], TRAVERSAL) * _part(sizes[1], TRAVERSAL)))
        if name in ("matches", "find", "findAll"):
            own = min(UNBOUNDED, _part(sizes[0] + 1, TRAVERSAL) * _part(sizes[1], REGEX))
            return Estimate(own, sizes[0] if name != "matches" else None)
        if name in ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"):
            return Estimate(self._scanned(kinds[0], costs[0], sizes[0]))
        if name in _SAME_SIZE:
            return Estimate(_part(sizes[0], TRAVERSAL), sizes[0])
        if name in _PARSED or (name in ("ip", "format", "strings.quote") and kinds[0].form == "string"):
            return Estimate(_part(sizes[0], TRAVERSAL), None if name == "format" else sizes[0])
        if name == "ip.isCanonical":
            return Estimate(_part(sizes[0], 2 * TRAVERSAL))
        return self._built(expr, kinds, costs, sizes)

    def _built(self, expr: Expr, kinds: list[Kind], costs: list[Estimate], sizes: list[float]) -> Estimate:
        """Calls whose result has a size of its own."""
        name = expr.name
        if name == "replace":
            smallest = len(expr.args[0].value) if expr.args[0].kind == "const" else 0
            if smallest == 0:
                size = (sizes[0] + 1) * sizes[2] + sizes[0]
            else:
                size = sizes[0] if sizes[2] <= smallest else math.ceil(sizes[0] / smallest) * sizes[2]
            return Estimate(_part(sizes[0], 2 * TRAVERSAL), min(UNBOUNDED, size))
        if name == "split":
            limit = expr.args[1].value if len(expr.args) > 1 and expr.args[1].kind == "const" else None
            return Estimate(_part(sizes[0], 2 * TRAVERSAL), limit if type(limit) is int and limit >= 0 else sizes[0])
        if name == "join":
            element = self._element(kinds[0], costs[0])
            separators = sizes[1] * max(0, sizes[0] - 1) if len(sizes) > 1 else 0
            size = min(UNBOUNDED, sizes[0] * element + separators)
            return Estimate(_part(size, TRAVERSAL), size)
        if name in ("sets.contains", "sets.intersects", "sets.equivalent"):
            factor = 2 if name == "sets.equivalent" else 1
            return Estimate(min(UNBOUNDED, 1 + factor * sizes[0] * sizes[1]))
        if name == "check":
            return Estimate(CHECK)
        if name == "containsIP" or name == "containsCIDR":
            return Estimate((4 if name == "containsIP" else 8) + (_part(sizes[1], TRAVERSAL) if kinds[1].form == "string" else 0))
        return Estimate(1)

    def _element(self, kind: Kind, found: Estimate) -> float:
        """The size of an element of a list."""
        node = found.node.items if found.node is not None else None
        if node is not None:
            return max_size(node)
        return 1 if kind.params and kind.params[0].form in _SCALARS else UNBOUNDED

    def _scanned(self, kind: Kind, found: Estimate, size: float) -> float:
        if kind.form != "list":
            return _part(size, TRAVERSAL)
        each = 1.0
        if kind.params[0].form in _TEXTS:
            each += _part(self._element(kind, found), TRAVERSAL)
        return min(UNBOUNDED, size * each)


def _child(node: Node | None, name: str) -> Node | None:
    if node is None:
        return None
    return next((child for key, child in visible(node).items() if escape(key) == name), node.additional)


def over_budget(title: str, cost: int, limit: int) -> str:
    """What is said of a cost beyond its limit."""
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (f"{title} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength "
            "where arrays, maps, and strings are declared)")
