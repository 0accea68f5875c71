"""Values at run time: Python's own where it has them, and how CEL compares, adds and shows them.

bool, int, float, str, bytes, None, list and dict stand for themselves; UInt, Timestamp, Duration, TypeValue, Optional and the opaque
types of libraries are classes. Maps may be subclasses of dict (variables that are evaluated when they are named).
"""
from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

SECOND = 1_000_000_000
_INT_MIN, _INT_MAX, _UINT_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_TIMESTAMP = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})")


class EvaluationError(ValueError):
    """An expression that fails; the message is cel-go's."""


def no_overload(name: str = "") -> EvaluationError:
    return EvaluationError(f"no such overload: {name}" if name else "no such overload")


class UInt(int):
    """An unsigned integer."""

    __slots__ = ()


class Timestamp:
    """Nanoseconds since 1970, in UTC."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        if not -62135596800 * SECOND <= ns < 253402300800 * SECOND:
            raise EvaluationError("timestamp overflow")
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.ns // SECOND, UTC)

    def __str__(self) -> str:
        fraction = f".{self.ns % SECOND:09d}".rstrip("0") if self.ns % SECOND else ""
        return self.moment().strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + "Z"


class Duration:
    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        if not _INT_MIN <= ns <= _INT_MAX:
            raise EvaluationError("duration overflow")
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __str__(self) -> str:
        return f"{show_float(self.ns / SECOND)}s"


class TypeValue:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


_NOTHING = object()


class Optional:
    """A value or none (`optional.of`, `.?field`)."""

    __slots__ = ("_value",)

    def __init__(self, value: Any = _NOTHING) -> None:
        self._value = value

    @property
    def has(self) -> bool:
        return self._value is not _NOTHING

    @property
    def value(self) -> Any:
        if self._value is _NOTHING:
            raise EvaluationError("optional.none() dereference")
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Optional) or self.has != other.has:
            return False
        return not self.has or equal(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]


NONE = Optional()


class Opaque:
    """A value of a library's own type; equal to others of its class with the same `value`."""

    kind = ""
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash((self.kind, self.value))

    def __str__(self) -> str:
        return str(self.value)


class ObjectValue(dict[str, Any]):
    """A constructed object with the name of its type (`Object.spec{…}`, `JSONPatch{…}`)."""

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.name = name


class SetList(list[Any]):
    """A list of unique elements: equal in any order (x-kubernetes-list-type: set)."""


class MapList(list[Any]):
    """A list of maps by key fields: equal in any order (x-kubernetes-list-type: map)."""

    keys: tuple[str, ...] = ()


_NAMES: dict[type, str] = {bool: "bool", int: "int", UInt: "uint", float: "double", str: "string", bytes: "bytes", type(None): "null_type",
                           list: "list", dict: "map", Timestamp: "google.protobuf.Timestamp",
                           Duration: "google.protobuf.Duration", TypeValue: "type", Optional: "optional_type"}
_GO = {"bool": "types.Bool", "int": "types.Int", "uint": "types.Uint", "double": "types.Double", "string": "types.String",
       "bytes": "types.Bytes", "null_type": "types.Null", "google.protobuf.Timestamp": "types.Timestamp",
       "google.protobuf.Duration": "types.Duration", "optional_type": "*types.Optional"}


def name_of(value: Any) -> str:
    """The name of a value's type."""
    found = _NAMES.get(type(value))
    if found is not None:
        return found
    if isinstance(value, ObjectValue):
        return value.name
    if isinstance(value, (dict, list)):
        return "map" if isinstance(value, dict) else "list"
    return str(getattr(value, "kind", "")) or type(value).__name__


def go_name(value: Any) -> str:
    """The Go type that cel-go's messages name."""
    name = name_of(value)
    return _GO.get(name, f"*{name}")


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and type(value) is not bool


def equal(one: Any, other: Any) -> bool:
    """`_==_`: values of different types are unequal, numbers compare across types."""
    kind, other_kind = type(one), type(other)
    if kind is str or other_kind is str:
        return kind is other_kind and bool(one == other)
    if kind is bool or other_kind is bool:
        return kind is other_kind and one is other
    if isinstance(one, list):
        if not isinstance(other, list) or len(one) != len(other):
            return False
        if isinstance(one, SetList):
            return all(any(equal(item, mine) for mine in one) for item in other)
        if isinstance(one, MapList):
            return _equal_keyed(one, other)
        return all(map(equal, one, other))
    if isinstance(one, dict):
        if not isinstance(other, dict) or len(one) != len(other):
            return False
        return all(key in other and equal(value, other[key]) for key, value in one.items())
    return bool(one == other)


def _equal_keyed(one: MapList, other: list[Any]) -> bool:
    def key(item: Any) -> tuple[Any, ...]:
        return tuple(item.get(name) for name in one.keys) if isinstance(item, dict) else (id(item),)

    known = {key(item): item for item in one}
    return all(key(item) in known and equal(known[key(item)], item) for item in other)


def compare(one: Any, other: Any) -> int:
    """Less than, equal to, greater than zero. Raises EvaluationError."""
    if is_number(one) and is_number(other):
        if one != one or other != other:
            raise EvaluationError("NaN values cannot be ordered")
        return int(one > other) - int(one < other)
    if type(one) is type(other):
        if isinstance(one, (Timestamp, Duration)):
            return int(one.ns > other.ns) - int(one.ns < other.ns)
        if isinstance(one, (str, bytes, bool)):
            return int(one > other) - int(one < other)
    raise no_overload()


def integer(value: int) -> int:
    if not _INT_MIN <= value <= _INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def unsigned(value: int) -> UInt:
    if not 0 <= value <= _UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def show_float(value: float) -> str:
    """strconv.FormatFloat(value, 'f', -1, 64)."""
    text = format(Decimal(repr(value)), "f") if math.isfinite(value) else {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[repr(value)]
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_double(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 64)."""
    if not math.isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[repr(value)]
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    first = exponent + len(digits) - 1
    if value == 0 or -4 <= first < 6:
        return show_float(value)
    fraction = "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{digits[0]}{'.' if fraction else ''}{fraction}e{first:+03d}"


def show(value: Any) -> str:
    """A value as cel-go prints it in messages."""
    if value is True or value is False:
        return "true" if value else "false"
    return show_double(value) if type(value) is float else "null" if value is None else str(value)


def parse_duration(text: str) -> Duration:
    """Go's time.ParseDuration; raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in "+-" else text
    if rest == "0" and text:
        return Duration(0)
    at = total = 0
    while at < len(rest):
        match = _DURATION.match(rest, at)
        if match is None:
            raise ValueError(text)
        total += int(Decimal(match[1]) * _UNITS[match[2]])
        at = match.end()
    if not at:
        raise ValueError(text)
    return Duration(sign * total)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339; raises ValueError."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(text)
    zone = 0
    if match[8] != "Z":
        zone = (1 if match[8][0] == "+" else -1) * (int(match[8][1:3]) * 3600 + int(match[8][4:]) * 60)
    moment = datetime(*(int(match[at]) for at in range(1, 7)), tzinfo=UTC)  # type: ignore[misc,arg-type]
    return Timestamp((int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) - zone) * SECOND + int(f"{match[7] or 0:0<9}"[:9]))
