"""Static types of CEL, and how they are written in messages.

Two spellings: `str(kind)` is a type's own name (`must evaluate to bool but got list(string)`), `shown(kind)` that of the checker's
errors, which shortens some (`null`, `timestamp`).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple


class Kind:
    """A type with its parameters; types of objects have fields besides."""

    __slots__ = ("form", "name", "params")

    def __init__(self, name: str, params: tuple[Kind, ...] = (), form: str = "") -> None:
        self.name = name
        self.params = params
        self.form = form or name
        """What it is: a primitive's name, list, map, type, param, opaque, struct, error, dyn."""

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Kind) and self.name == other.name and self.form == other.form
                                 and self.params == other.params)

    def __hash__(self) -> int:
        return hash((self.name, self.params))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.params))})" if self.params else self.name

    __repr__ = __str__


class Field(NamedTuple):
    kind: Kind
    key: str
    """The name it has in the data, where that is not the name it is selected by."""


class Struct(Kind):
    """An object whose fields are known. `any_field` makes a field of what is not listed."""

    __slots__ = ("any_field", "fields")

    def __init__(self, name: str, fields: Mapping[str, Field], any_field: Callable[[str], Field | None] | None = None) -> None:
        super().__init__(name, (), "struct")
        self.fields = dict(fields)
        self.any_field = any_field

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Struct) and self.name == other.name)

    __hash__ = Kind.__hash__

    def field(self, name: str) -> Field | None:
        found = self.fields.get(name)
        return found if found is not None or self.any_field is None else self.any_field(name)


BOOL, INT, UINT, DOUBLE, STRING, BYTES = (Kind(name) for name in ("bool", "int", "uint", "double", "string", "bytes"))
DYN, NULL, ERROR, ANY = Kind("dyn"), Kind("null_type"), Kind("!error!", form="error"), Kind("any")
UNSPECIFIED = Kind("", form="unspecified")
TIMESTAMP = Kind("google.protobuf.Timestamp", form="timestamp")
DURATION = Kind("google.protobuf.Duration", form="duration")
_NAMED = {kind.name: kind for kind in (BOOL, INT, UINT, DOUBLE, STRING, BYTES, DYN, NULL, ANY, TIMESTAMP, DURATION)}
_NAMED |= {"timestamp": TIMESTAMP, "duration": DURATION, "null": NULL}
_SHOWN = {"null_type": "null", "timestamp": "timestamp", "duration": "duration", "error": "!error!", "unspecified": ""}


def struct_of(name: str, fields: Mapping[str, Kind | str]) -> Struct:
    """An object whose fields have the names they are selected by."""
    return Struct(name, {field: Field(kind(item) if isinstance(item, str) else item, field) for field, item in fields.items()})


def list_of(item: Kind) -> Kind:
    return Kind("list", (item,))


def map_of(key: Kind, value: Kind) -> Kind:
    return Kind("map", (key, value))


def type_of(kind: Kind) -> Kind:
    return Kind("type", (kind,))


def optional_of(kind: Kind) -> Kind:
    return Kind("optional_type", (kind,), "opaque")


def opaque(name: str) -> Kind:
    return Kind(name, (), "opaque")


def is_optional(kind: Kind) -> bool:
    return kind.name == "optional_type"


def shown(kind: Kind) -> str:
    """A type as the checker's errors write it."""
    short = _SHOWN.get(kind.form)
    if short is not None:
        return short
    return f"{kind.name}({', '.join(map(shown, kind.params))})" if kind.params else kind.name


@lru_cache(maxsize=512)
def kind(text: str) -> Kind:
    """The type a text names: `map(string,list(dyn))`; a single capital letter is a parameter, other unknown names are opaque."""
    text = text.strip()
    head, bracket, rest = text.partition("(")
    if not bracket:
        if text in _NAMED:
            return _NAMED[text]
        return Kind(text, (), "param") if len(text) == 1 and text.isupper() else opaque(text)
    params = tuple(kind(part) for part in split(rest[:-1]))
    if head == "optional":
        return optional_of(params[0])
    return Kind(head, params)


def split(text: str) -> list[str]:
    """The parameters of a type, at the outermost commas."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append(text[start:position])
            start = position + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]
