"""What calls cost when they run (`cel-go/interpreter/runtimecost.go`, `k8s.io/apiserver/pkg/cel/library/cost.go`)."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

TRAVERSAL, REGEX = 0.1, 0.25
CHECK = 350_000
"""Of an authorization check: two fit into an expression."""
Cost = Callable[[tuple[Any, ...], Any], int]


def size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 1


def _traversed(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return int(len(value) * TRAVERSAL)
    if isinstance(value, list):
        return sum(map(_traversed, value))
    if isinstance(value, dict):
        return sum(_traversed(key) + _traversed(item) for key, item in value.items())
    return 1


def _text(values: tuple[Any, ...], result: Any) -> int:
    return math.ceil(size(values[0]) * TRAVERSAL)


def _matched(values: tuple[Any, ...], result: Any) -> int:
    return math.ceil((1 + size(values[0])) * TRAVERSAL) * math.ceil(size(values[1]) * REGEX)


def _sum(values: tuple[Any, ...], result: Any) -> int:
    if isinstance(values[0], (str, bytes)):
        return math.ceil((size(values[0]) + size(values[1])) * TRAVERSAL)
    return 1


def _compared(values: tuple[Any, ...], result: Any) -> int:
    one, other = values
    kind = type(one)
    if kind is not str and kind is not list and kind is not dict and kind is not bytes:
        return 1
    return math.ceil(min(size(one), size(other)) * TRAVERSAL)


def _within(values: tuple[Any, ...], result: Any) -> int:
    return len(values[1]) if isinstance(values[1], list) else 1


def _pairs(values: tuple[Any, ...], result: Any) -> int:
    return 1 + size(values[0]) * size(values[1])


def _both(values: tuple[Any, ...], result: Any) -> int:
    return 1 + 2 * size(values[0]) * size(values[1])


def _contained(values: tuple[Any, ...], result: Any) -> int:
    return math.ceil(size(values[0]) * TRAVERSAL) * math.ceil(size(values[1]) * TRAVERSAL)


def _network(nominal: int) -> Cost:
    return lambda values, result: nominal + (math.ceil(size(values[1]) * TRAVERSAL) if isinstance(values[1], str) else 0)


def _format(values: tuple[Any, ...], result: Any) -> int:
    return math.ceil((1 + size(values[1])) * TRAVERSAL) * math.ceil(getattr(values[0], "regex_size", 1) * REGEX)


_COSTS: dict[str, Cost] = {
    "_+_": _sum, "_==_": _compared, "_!=_": _compared, "_<_": _compared, "_<=_": _compared, "_>_": _compared, "_>=_": _compared,
    "@in": _within, "startsWith": lambda values, result: math.ceil(size(values[1]) * TRAVERSAL),
    "endsWith": lambda values, result: math.ceil(size(values[1]) * TRAVERSAL), "contains": _contained,
    "matches": _matched, "find": _matched, "findAll": _matched, "join": lambda values, result: math.ceil(size(result) * TRAVERSAL),
    "ip.isCanonical": lambda values, result: math.ceil(size(values[0]) * 2 * TRAVERSAL),
    "containsIP": _network(4), "containsCIDR": _network(8), "validate": _format,
    "sets.contains": _pairs, "sets.intersects": _pairs, "sets.equivalent": _both, "check": lambda values, result: CHECK,
    **dict.fromkeys(("isSorted", "sum", "max", "min"), lambda values, result: _traversed(values[0])),
    **dict.fromkeys(("indexOf", "lastIndexOf"), lambda values, result: _traversed(values[0]) if isinstance(values[0], list)
                    else math.ceil(size(values[0]) * TRAVERSAL)),
    **dict.fromkeys(("url", "isURL", "lowerAscii", "upperAscii", "substring", "trim", "replace", "split", "reverse", "jsonpatch.escapeKey",
                     "cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver", "strings.quote", "format"), _text),
}


def call_cost(name: str, overload: str) -> Cost | None:
    """How a call's cost follows from its values; None where it is 1."""
    if name in ("string", "bytes"):
        return _text if overload in ("string_bytes", "bytes_string") else None
    return _COSTS.get(name)
