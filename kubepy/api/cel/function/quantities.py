"""Quantities and semantic versions (`library/quantity.go`, `library/semverlib.go`)."""
from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from kubepy.api import quantity as amounts
from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import EvaluationError, Opaque

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?")


class Amount(Opaque):
    """`value` is a Decimal."""

    kind = "kubernetes.Quantity"
    __slots__ = ()


class Version(Opaque):
    """`value` is what orders it: major, minor, patch, whether it is a release, the parts of a prerelease."""

    kind = "kubernetes.Semver"
    __slots__ = ()


def quantity(text: str) -> Amount:
    try:
        return Amount(Decimal(amounts.parse_quantity(text).nano).scaleb(-9))
    except ValueError as error:
        raise EvaluationError(str(error)) from error


def _is(parse: Any) -> Any:
    def check(text: str, *rest: Any) -> bool:
        try:
            parse(text, *rest)
        except EvaluationError:
            return False
        return True

    return check


def _order(one: Opaque, other: Opaque) -> int:
    return int(one.value > other.value) - int(one.value < other.value)


def is_integer(item: Amount) -> bool:
    return bool(item.value == item.value.to_integral_value() and -(1 << 63) <= item.value < 1 << 63)


def as_integer(item: Amount) -> int:
    if not is_integer(item):
        raise EvaluationError("cannot convert value to integer")
    return int(item.value)


def semver(text: str, normalize: bool = False) -> Version:
    if normalize:
        text = text.removeprefix("v")
        head, _, rest = re.sub(r"(?=[-+])", "\0", text, count=1).partition("\0")
        parts = [str(int(part)) if part.isdigit() else part for part in head.split(".")]
        text = ".".join([*parts, "0", "0"][:3] if len(parts) < 3 else parts) + rest
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise EvaluationError(_complaint(text))
    rest_parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in (match[4] or "").split(".") if part)
    return Version((int(match[1]), int(match[2]), int(match[3]), not rest_parts, rest_parts))


def _complaint(text: str) -> str:
    if not text:
        return "Version string empty"
    numbers = re.split(r"[-+]", text, maxsplit=1)[0].split(".")
    if len(numbers) != 3:
        return "No Major.Minor.Patch elements found"
    for title, number in zip(("major", "minor", "patch"), numbers, strict=True):
        if not number.isdigit():
            return f'Invalid character(s) found in {title} number "{number}"'
        if number != str(int(number)):
            return f'{title.title()} number must not contain leading zeroes "{number}"'
    return "Invalid character(s) found in prerelease or build metadata"


def declare(to: Declarations) -> None:
    amount, version = Amount.kind, Version.kind
    to.add(f"quantity(string) {amount}", quantity)
    to.add("isQuantity(string) bool", _is(quantity))
    to.add(f"{amount}::sign() int", lambda item: _order(item, Amount(Decimal(0))))
    to.add(f"{amount}::isInteger() bool", is_integer)
    to.add(f"{amount}::asInteger() int", as_integer)
    to.add(f"{amount}::asApproximateFloat() double", lambda item: float(item.value))
    to.add(f"{amount}::add({amount}) {amount}", lambda one, other: Amount(one.value + other.value))
    to.add(f"{amount}::add(int) {amount}", lambda one, other: Amount(one.value + other))
    to.add(f"{amount}::sub({amount}) {amount}", lambda one, other: Amount(one.value - other.value))
    to.add(f"{amount}::sub(int) {amount}", lambda one, other: Amount(one.value - other))
    to.add(f"semver(string) {version}", semver)
    to.add(f"semver(string,bool) {version}", semver)
    to.add("isSemver(string) bool", _is(semver))
    to.add("isSemver(string,bool) bool", _is(semver))
    for position, name in enumerate(("major", "minor", "patch")):
        to.add(f"{version}::{name}() int", lambda item, position=position: item.value[position])
    for kind in (amount, version):
        to.add(f"{kind}::isGreaterThan({kind}) bool", lambda one, other: one.value > other.value)
        to.add(f"{kind}::isLessThan({kind}) bool", lambda one, other: one.value < other.value)
        to.add(f"{kind}::compareTo({kind}) int", _order)
