"""Functions of lists: Kubernetes' own (`library/lists.go`), sets (`ext/sets.go`) and cel-go's (`ext/lists.go`, version 3)."""
from __future__ import annotations

from functools import cmp_to_key
from typing import Any

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.function.standard import add
from kubepy.api.cel.value import NONE, Duration, EvaluationError, Optional, UInt, compare, equal

_ZEROS: dict[str, Any] = {"int": 0, "uint": UInt(0), "double": 0.0, "duration": Duration(0)}
_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")


def is_sorted(values: list[Any]) -> bool:
    return all(compare(values[at], values[at + 1]) <= 0 for at in range(len(values) - 1))


def _total(zero: Any) -> Any:
    def total(values: list[Any]) -> Any:
        found = values[0] if values else zero
        for value in values[1:]:
            found = add(found, value)
        return found

    return total


def _extreme(name: str, sign: int) -> Any:
    def extreme(values: list[Any]) -> Any:
        if not values:
            raise EvaluationError(f"{name} called on empty list")
        found = values[0]
        for value in values[1:]:
            if compare(value, found) * sign > 0:
                found = value
        return found

    return extreme


def index_of(values: list[Any], wanted: Any) -> int:
    return next((at for at, value in enumerate(values) if equal(value, wanted)), -1)


def last_index_of(values: list[Any], wanted: Any) -> int:
    return next((at for at in range(len(values) - 1, -1, -1) if equal(values[at], wanted)), -1)


def _includes(values: list[Any], others: list[Any]) -> bool:
    return all(any(equal(value, other) for value in values) for other in others)


def _slice(values: list[Any], start: int, end: int) -> list[Any]:
    for at in (start, end):
        if at < 0:
            raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(values):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return values[start:end]


def _flat(values: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    found: list[Any] = []
    for value in values:
        found.extend(_flat(value, depth - 1) if isinstance(value, list) and depth else [value])
    return found


def _distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(equal(value, other) for other in found):
            found.append(value)
    return found


def _sorted_by(values: list[Any], keys: list[Any]) -> list[Any]:
    def order(one: int, other: int) -> int:
        return compare(keys[one], keys[other])

    return [values[at] for at in sorted(range(len(values)), key=cmp_to_key(order))]


def declare(to: Declarations) -> None:
    for kind in _COMPARABLE:
        to.add(f"list({kind})::isSorted() bool", is_sorted)
        to.add(f"list({kind})::min() {kind}", _extreme("min", -1))
        to.add(f"list({kind})::max() {kind}", _extreme("max", 1))
    for kind, zero in _ZEROS.items():
        to.add(f"list({kind})::sum() {kind}", _total(zero))
    to.add("list(T)::indexOf(T) int", index_of)
    to.add("list(T)::lastIndexOf(T) int", last_index_of)
    to.add("sets.contains(list(T),list(T)) bool", _includes)
    to.add("sets.equivalent(list(T),list(T)) bool", lambda one, other: _includes(one, other) and _includes(other, one))
    to.add("sets.intersects(list(T),list(T)) bool", lambda one, other: any(equal(value, item) for value in one for item in other))
    to.add("list(T)::slice(int,int) list(T)", _slice)
    to.add("list(list(T))::flatten() list(T)", _flat)
    to.add("list(dyn)::flatten(int) list(dyn)", _flat)
    to.add("lists.range(int) list(int)", lambda count: list(range(count)))
    to.add("list(T)::distinct() list(T)", _distinct)
    to.add("list(T)::reverse() list(T)", lambda values: values[::-1])
    for kind in _COMPARABLE:
        to.add(f"list({kind})::sort() list({kind})", lambda values: sorted(values, key=cmp_to_key(compare)))
    to.add("@sortBy(list(T),list(K)) list(T)", _sorted_by)
    to.add("list(T)::first() optional(T)", lambda values: Optional(values[0]) if values else NONE)
    to.add("list(T)::last() optional(T)", lambda values: Optional(values[-1]) if values else NONE)
