"""Operators: arithmetic, comparison, membership, logic, and functions of optional values."""
from __future__ import annotations

import math
from typing import Any

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import (
    NONE,
    Duration,
    EvaluationError,
    Optional,
    Timestamp,
    UInt,
    compare,
    equal,
    integer,
    name_of,
    no_overload,
    unsigned,
)

_TIME, _LENGTH = "google.protobuf.Timestamp", "google.protobuf.Duration"
_NUMBERS = ("int", "uint", "double")


def add(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is type(other):
        if kind is int:
            return integer(one + other)
        if kind is UInt:
            return unsigned(int(one) + int(other))
        if kind is float or kind is str or kind is bytes:
            return one + other
        if kind is Duration:
            return Duration(one.ns + other.ns)
    if isinstance(one, list) and isinstance(other, list):
        return _joined(one, other)
    if kind is Timestamp and type(other) is Duration:
        return Timestamp(one.ns + other.ns)
    if kind is Duration and type(other) is Timestamp:
        return Timestamp(one.ns + other.ns)
    raise no_overload()


def _joined(one: list[Any], other: list[Any]) -> list[Any]:
    joined = getattr(one, "joined", None)
    found: list[Any] = joined(other) if joined is not None else [*one, *other]
    return found


def subtract(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is type(other):
        if kind is int:
            return integer(one - other)
        if kind is UInt:
            return unsigned(int(one) - int(other))
        if kind is float:
            return one - other
        if kind is Duration or kind is Timestamp:
            return Duration(one.ns - other.ns)
    if kind is Timestamp and type(other) is Duration:
        return Timestamp(one.ns - other.ns)
    raise no_overload()


def multiply(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is not type(other):
        raise no_overload()
    if kind is int:
        return integer(one * other)
    return unsigned(int(one) * int(other)) if kind is UInt else one * other


def divide(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is not type(other):
        raise no_overload()
    if kind is float:
        if other == 0:
            return math.nan if one == 0 or one != one else math.copysign(math.inf, one) * math.copysign(1, other)
        return one / other
    if other == 0:
        raise EvaluationError("division by zero")
    quotient = abs(int(one)) // abs(int(other))
    return unsigned(quotient) if kind is UInt else integer(quotient if (one < 0) == (other < 0) else -quotient)


def modulo(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is not type(other):
        raise no_overload()
    if other == 0:
        raise EvaluationError("modulus by zero")
    rest = abs(int(one)) % abs(int(other))
    return unsigned(rest) if kind is UInt else -rest if one < 0 else rest


def negate(value: Any) -> Any:
    return integer(-value) if type(value) is int else -value


def invert(value: Any) -> bool:
    if type(value) is not bool:
        raise no_overload()
    return not value


def size(value: Any) -> int:
    return len(value)


def _within(value: Any, container: Any) -> bool:
    from kubepy.api.cel.access import contains

    return contains(value, container)


def _of_non_zero(value: Any) -> Optional:
    empty = value is None or value is False or (isinstance(value, (str, bytes, list, dict)) and not value) or (
        isinstance(value, (int, float)) and value == 0) or (isinstance(value, (Duration, Timestamp)) and value.ns == 0)
    return NONE if empty else Optional(value)


def _unwrap(values: list[Any]) -> list[Any]:
    return [value.value for value in values if value.has]


def _orders() -> list[tuple[str, tuple[str, ...]]]:
    mixed = [(one, other) for one in _NUMBERS for other in _NUMBERS if one != other]
    same = [(kind, kind) for kind in ("bool", "int", "uint", "double", "string", "bytes", _TIME, _LENGTH)]
    return [(f"{one}_{other}", (one, other)) for one, other in [*same, *mixed]]


def declare(to: Declarations) -> None:
    to.single("_==_", equal, None, [("equals", "(A,A) bool")])
    to.single("_!=_", lambda one, other: not equal(one, other), None, [("not_equals", "(A,A) bool")])
    comparable = ("bool", "int", "uint", "double", "string", "bytes", _TIME, _LENGTH)
    for name, word, test in (("_<_", "less", lambda order: order < 0), ("_<=_", "less_equals", lambda order: order <= 0),
                             ("_>_", "greater", lambda order: order > 0), ("_>=_", "greater_equals", lambda order: order >= 0)):
        to.single(name, _ordered(test), comparable, [(f"{word}_{title}", f"({one},{other}) bool") for title, (one, other) in _orders()])
    numbers = [(kind, f"({kind},{kind}) {kind}") for kind in _NUMBERS]
    to.single("_+_", add, ("int", "uint", "double", "string", "bytes", "list", _TIME, _LENGTH), [
        *((f"add_{kind}", text) for kind, text in numbers), ("add_string", "(string,string) string"), ("add_bytes", "(bytes,bytes) bytes"),
        ("add_list", "(list(A),list(A)) list(A)"), ("add_duration_duration", "(duration,duration) duration"),
        ("add_duration_timestamp", "(duration,timestamp) timestamp"), ("add_timestamp_duration", "(timestamp,duration) timestamp")])
    to.single("_-_", subtract, (*_NUMBERS, _TIME, _LENGTH), [
        *((f"subtract_{kind}", text) for kind, text in numbers), ("subtract_duration_duration", "(duration,duration) duration"),
        ("subtract_timestamp_duration", "(timestamp,duration) timestamp"),
        ("subtract_timestamp_timestamp", "(timestamp,timestamp) duration")])
    to.single("_*_", multiply, _NUMBERS, [(f"multiply_{kind}", text) for kind, text in numbers])
    to.single("_/_", divide, _NUMBERS, [(f"divide_{kind}", text) for kind, text in numbers])
    to.single("_%_", modulo, ("int", "uint"), [(f"modulo_{kind}", text) for kind, text in numbers[:2]])
    to.single("-_", negate, ("int", "double"), [("negate_double", "(double) double"), ("negate_int64", "(int) int")])
    to.single("!_", invert, None, [("logical_not", "(bool) bool")])
    to.single("@in", _within, None, [("in_list", "(A,list(A)) bool"), ("in_map", "(A,map(A,B)) bool")])
    to.single("size", size, ("string", "bytes", "list", "map"), [
        (f"size_{title}", f"({kind}) int") for title, kind in (("bytes", "bytes"), ("list", "list(A)"), ("map", "map(A,B)"),
                                                                ("string", "string"))] + [
        (f"{title}_size", f"{kind}::() int") for title, kind in (("bytes", "bytes"), ("list", "list(A)"), ("map", "map(A,B)"),
                                                                 ("string", "string"))])
    # these decide for themselves what of their operands they evaluate: see program.py
    to.add("_&&_(bool,bool) bool", id="logical_and")
    to.add("_||_(bool,bool) bool", id="logical_or")
    to.add("_?_:_(bool,A,A) A", id="conditional")
    to.add("@not_strictly_false(bool) bool", id="not_strictly_false")
    to.add("_[_](list(A),int) A", id="index_list")
    to.add("_[_](map(A,B),A) B", id="index_map")
    to.add("_[_](optional(list(A)),int) optional(A)", id="optional_list_index_int")
    to.add("_[_](optional(map(A,B)),A) optional(B)", id="optional_map_index_value")
    to.add("_[?_](list(A),int) optional(A)", id="list_optindex_optional_int")
    to.add("_[?_](optional(list(A)),int) optional(A)", id="optional_list_optindex_optional_int")
    to.add("_[?_](map(A,B),A) optional(B)", id="map_optindex_optional_value")
    to.add("_[?_](optional(map(A,B)),A) optional(B)", id="optional_map_optindex_optional_value")
    to.add("optional(A)::or(optional(A)) optional(A)", id="optional_or_optional")
    to.add("optional(A)::orValue(A) A", id="optional_orValue_value")
    to.add("optional.of(A) optional(A)", Optional)
    to.add("optional.ofNonZeroValue(A) optional(A)", _of_non_zero)
    to.add("optional.none() optional(A)", lambda: NONE)
    to.add("optional(A)::value() A", lambda item: item.value)
    to.add("optional(A)::hasValue() bool", lambda item: item.has)
    to.add("optional.unwrap(list(optional(A))) list(A)", _unwrap)
    to.add("list(optional(A))::unwrapOpt() list(A)", _unwrap)
    to.add("cel.@mapInsert(map(A,B),A,B) map(A,B)", _insert)
    to.add("cel.@mapInsert(map(A,B),map(A,B)) map(A,B)", lambda into, other: _insert_all(into, other))


def _insert(into: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    if key in into:
        raise EvaluationError(f"insert failed: key {key} already exists")
    into[key] = value
    return into


def _insert_all(into: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
    for key, value in other.items():
        _insert(into, key, value)
    return into


def _ordered(test: Any) -> Any:
    return lambda one, other: test(compare(one, other))


__all__ = ["add", "declare", "name_of"]
