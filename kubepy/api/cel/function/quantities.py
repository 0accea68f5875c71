"""Quantities and semantic versions (`library/quantity.go`, `library/semverlib.go`)."""
from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from kubepy.api import quantity as amounts
from kubepy.api.cel.function.opaque import make, text_of

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?")


def _value(item: Any) -> Decimal:
    return Decimal(text_of(item))


def _amount(value: Decimal) -> Any:
    return make("Quantity", format(value.normalize(), "f"))


def quantity(text: str) -> Any:
    return _amount(Decimal(amounts.parse_quantity(text).nano).scaleb(-9))


def is_quantity(text: str) -> bool:
    try:
        amounts.parse_quantity(text)
    except ValueError:
        return False
    return True


def compare(one: Any, other: Any) -> int:
    left, right = _value(one), _value(other)
    return (left > right) - (left < right)


def as_integer(item: Any) -> int:
    value = _value(item)
    if value != value.to_integral_value() or not -(1 << 63) <= value < 1 << 63:
        raise ValueError("cannot convert value to integer")
    return int(value)


def is_integer(item: Any) -> bool:
    value = _value(item)
    return bool(value == value.to_integral_value() and -(1 << 63) <= value < 1 << 63)


def sign(item: Any) -> int:
    value = _value(item)
    return (value > 0) - (value < 0)


def semver(text: str, *, normalize: bool = False) -> Any:
    if normalize:
        text = text.removeprefix("v")
        head, _, rest = re.sub(r"(?=[-+])", "\0", text, count=1).partition("\0")
        parts = [str(int(part)) if part.isdigit() else part for part in head.split(".")]
        text = ".".join([*parts, "0", "0"][:3] if len(parts) < 3 else parts) + rest
    if _SEMVER.fullmatch(text) is None:
        raise ValueError("Invalid character(s) found in version")
    return make("Semver", text)


def is_semver(text: str, normalize: bool = False) -> bool:
    try:
        semver(text, normalize=normalize)
    except ValueError:
        return False
    return True


def _order(item: Any) -> tuple[Any, ...]:
    match = _SEMVER.fullmatch(text_of(item))
    assert match is not None
    rest = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in (match[4] or "").split(".") if part)
    return int(match[1]), int(match[2]), int(match[3]), not rest, rest


def compare_versions(one: Any, other: Any) -> int:
    left, right = _order(one), _order(other)
    return (left > right) - (left < right)


FUNCTIONS: list[tuple[Any, ...]] = [
    ("quantity", False, ("string",), "Quantity", quantity),
    ("isQuantity", False, ("string",), "bool", is_quantity),
    ("sign", True, ("Quantity",), "int", sign),
    ("isInteger", True, ("Quantity",), "bool", is_integer),
    ("asInteger", True, ("Quantity",), "int", as_integer),
    ("asApproximateFloat", True, ("Quantity",), "double", lambda item: float(_value(item))),
    ("isGreaterThan", True, ("Quantity", "Quantity"), "bool", lambda one, other: compare(one, other) > 0),
    ("isLessThan", True, ("Quantity", "Quantity"), "bool", lambda one, other: compare(one, other) < 0),
    ("compareTo", True, ("Quantity", "Quantity"), "int", compare),
    ("add", True, ("Quantity", "Quantity"), "Quantity", lambda one, other: _amount(_value(one) + _value(other))),
    ("add", True, ("Quantity", "int"), "Quantity", lambda one, other: _amount(_value(one) + other)),
    ("sub", True, ("Quantity", "Quantity"), "Quantity", lambda one, other: _amount(_value(one) - _value(other))),
    ("sub", True, ("Quantity", "int"), "Quantity", lambda one, other: _amount(_value(one) - other)),
    ("semver", False, ("string",), "Semver", semver),
    ("semver", False, ("string", "bool"), "Semver", lambda text, normalize: semver(text, normalize=normalize)),
    ("isSemver", False, ("string",), "bool", is_semver),
    ("isSemver", False, ("string", "bool"), "bool", is_semver),
    ("major", True, ("Semver",), "int", lambda item: _order(item)[0]),
    ("minor", True, ("Semver",), "int", lambda item: _order(item)[1]),
    ("patch", True, ("Semver",), "int", lambda item: _order(item)[2]),
    ("isGreaterThan", True, ("Semver", "Semver"), "bool", lambda one, other: compare_versions(one, other) > 0),
    ("isLessThan", True, ("Semver", "Semver"), "bool", lambda one, other: compare_versions(one, other) < 0),
    ("compareTo", True, ("Semver", "Semver"), "int", compare_versions),
]
