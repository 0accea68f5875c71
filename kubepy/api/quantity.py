"""Quantities of resources as Kubernetes writes and counts them (`k8s.io/apimachinery/pkg/api/resource.Quantity`).

A quantity is a decimal number with a format: binary suffixes (Ki…Ei), decimal suffixes (n…E) or a decimal exponent. Amounts are
kept as an integer count of 10⁻⁹, as fine as Kubernetes keeps them; finer ones are rounded away from zero. `str(q)` is what the API
answers: the canonical form, except that a text that Kubernetes' quick test takes for canonical is repeated as it was sent (`+1`,
`00012`, `1.`, `1.123`). Known difference: decimal exponents beyond ±1,000 are refused.
"""
from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

NANO = 10**9
_MAX_INT64 = 2**63 - 1
_MAX_EXPONENT = 1000
_MAX_DIGITS = 1000
_FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SUFFIX_ERROR = "unable to parse quantity's suffix"
_NUMERIC_ERROR = "unable to parse numeric part of quantity"

BINARY = "BinarySI"
DECIMAL = "DecimalSI"
EXPONENT = "DecimalExponent"

_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_NAMES = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_NAMES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SHAPE = re.compile(r"([+-]?)([0-9]*)((?:\.[0-9]*)?)(.*)", re.ASCII | re.DOTALL)
_SUFFIX_SHAPE = re.compile(r"[eEinumkKMGTP]*[-+]?[0-9]*", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]{1,9})", re.ASCII)


class QuantityError(ValueError):
    """A text that is no quantity; its message is Kubernetes'."""


class Quantity:
    """An immutable amount; comparisons and arithmetic look at the amount only, the text is `str(q)`."""

    __slots__ = ("_text", "format", "nano")

    def __init__(self, nano: int, format: str = DECIMAL, text: str | None = None) -> None:
        self.nano = nano
        """The amount in 10⁻⁹ units."""
        self.format = format
        self._text = text

    def __str__(self) -> str:
        if self._text is None:
            self._text = _canonical(self.nano, self.format)
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def value(self) -> int:
        """The amount in whole units, rounded away from zero (upstream's Value)."""
        return _scaled(self.nano, NANO)

    def milli_value(self) -> int:
        """The amount in thousandths, rounded away from zero (upstream's MilliValue)."""
        return _scaled(self.nano, 10**6)

    def as_float(self) -> float:
        return self.nano / NANO

    def sign(self) -> int:
        return (self.nano > 0) - (self.nano < 0)

    def rounded_to_milli(self) -> Quantity:
        """Rounded away from zero to thousandths, as resource lists are when they are defaulted (`RoundUp(Milli)`)."""
        if self.nano % 10**6 == 0:
            return self
        return Quantity(_scaled(self.nano, 10**6) * 10**6, self.format)

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in this quantity's format, or in the other's when this one is zero."""
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nano, self.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nano * factor, self.format)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nano == other.nano

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __le__(self, other: Quantity) -> bool:
        return self.nano <= other.nano

    def __gt__(self, other: Quantity) -> bool:
        return self.nano > other.nano

    def __ge__(self, other: Quantity) -> bool:
        return self.nano >= other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __bool__(self) -> bool:
        return self.nano != 0

    @classmethod
    def of(cls, value: int, format: str = DECIMAL) -> Quantity:
        """A quantity of `value` whole units."""
        return cls(value * NANO, format)

    @classmethod
    def of_milli(cls, value: int, format: str = DECIMAL) -> Quantity:
        """A quantity of `value` thousandths."""
        return cls(value * 10**6, format)


ZERO = Quantity(0)


def parse_quantity(text: str) -> Quantity:
    """Parses a quantity; raises QuantityError with Kubernetes' message. Results are shared and immutable."""
    return _cached(text) if len(text) <= 40 else _parse(text)


def quantity(value: Any) -> Quantity:
    """The quantity that a JSON value of an object stands for: a text, a number, or None (zero)."""
    if isinstance(value, str):
        return parse_quantity(value)
    return ZERO if value is None else parse_quantity(str(value))


def value_of(value: Any) -> int:
    """Whole units (bytes, pods …) of a JSON value, rounded up; fast for what schedulers read again and again."""
    return quantity(value).value()


def milli_value_of(value: Any) -> int:
    """Thousandths (of a CPU) of a JSON value, rounded up."""
    return quantity(value).milli_value()


def _parse(text: str) -> Quantity:
    if not text:
        raise QuantityError(_FORMAT_ERROR)
    if text == "0":
        return ZERO
    shape = _SHAPE.fullmatch(text)
    assert shape is not None  # every part may be empty
    sign, whole, fraction, suffix = shape.groups()
    if not _SUFFIX_SHAPE.fullmatch(suffix):
        raise QuantityError(_FORMAT_ERROR)
    base, exponent, format = _interpret(suffix)
    fraction = fraction[1:]
    whole = whole.lstrip("0") or "0"
    digits = whole + fraction
    if len(digits) > _MAX_DIGITS or abs(exponent) > _MAX_EXPONENT:
        raise QuantityError(_NUMERIC_ERROR)
    number = int(digits)
    kept = None
    if base == 10:
        scale = exponent - len(fraction)
        if scale >= -9:
            nano = number * 10 ** (scale + 9)
            if len(digits) <= 18 and scale % 3 == 0 and digits[0] != "0" and not digits.endswith("000"):
                kept = text
        else:
            nano = _round_up(number, 10 ** (-9 - scale))
    else:
        nano = _round_up(number * (NANO << exponent), 10 ** len(fraction))
        if nano > _MAX_INT64 * NANO:
            nano = _MAX_INT64 * NANO
        elif not fraction and 14 - len(whole) - int(exponent * 3 / 10) >= 0 and number & 7:
            kept = text
        if 0 < nano < NANO:
            format = DECIMAL
    return Quantity(-nano if sign == "-" else nano, format, kept)


_cached = lru_cache(maxsize=8192)(_parse)


def _interpret(suffix: str) -> tuple[int, int, str]:
    """Base, exponent and format of a suffix."""
    if (decimal := _DECIMAL_SUFFIXES.get(suffix)) is not None:
        return 10, decimal, DECIMAL
    if (binary := _BINARY_SUFFIXES.get(suffix)) is not None:
        return 2, binary, BINARY
    if (exponent := _EXPONENT.fullmatch(suffix)) is not None:
        return 10, int(exponent[1]), EXPONENT
    raise QuantityError(_SUFFIX_ERROR)


def _round_up(amount: int, unit: int) -> int:
    return -(-amount // unit)


def _scaled(nano: int, unit: int) -> int:
    return -(-nano // unit) if nano >= 0 else nano // unit


def _canonical(nano: int, format: str) -> str:
    if nano == 0:
        return "0"
    if format == BINARY and abs(nano) >= 1024 * NANO and nano % NANO == 0:
        amount, power = nano // NANO, 0
        while power < 6 and amount % 1024 == 0:
            amount, power = amount // 1024, power + 1
        return f"{amount}{_BINARY_NAMES[power]}"
    amount, exponent = nano, -9
    while amount % 1000 == 0:
        amount, exponent = amount // 1000, exponent + 3
    if format != EXPONENT and exponent in _DECIMAL_NAMES:
        return f"{amount}{_DECIMAL_NAMES[exponent]}"
    return f"{amount}e{exponent}" if exponent else str(amount)
