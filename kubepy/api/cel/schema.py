"""CEL types of structural schemas (`k8s.io/apiserver/pkg/cel/common/schemas.go`), and values as expressions see them."""
from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from kubepy.api.cel.kind import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, Field, Kind, Struct, list_of, map_of
from kubepy.api.cel.value import MapList, SetList, parse_duration, parse_timestamp
from kubepy.api.structural.node import Node

_RESERVED = frozenset(("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
                       "loop", "package", "namespace", "return", "var", "void", "while"))
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_SYMBOLS = {".": "__dot__", "-": "__dash__", "/": "__slash__"}
_META = Node({"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}})
_TEXT = Node({"type": "string"})
_STRINGS = {"byte": BYTES, "duration": DURATION, "date": TIMESTAMP, "date-time": TIMESTAMP}
_SCALARS = {"integer": INT, "number": DOUBLE, "boolean": BOOL}


def escape(name: str) -> str | None:
    """A field's name as CEL spells it, or None where it cannot be named (`cel.Escape`)."""
    if name in _RESERVED:
        return f"__{name}__"
    shown = name.replace("__", "__underscores__")
    for char, text in _SYMBOLS.items():
        shown = shown.replace(char, text)
    return shown if _IDENTIFIER.fullmatch(shown) else None


def kind_of(node: Node, name: str = "selfType") -> Kind | None:
    """The type of a node, None where expressions cannot see it."""
    if node.int_or_string:
        return DYN
    if node.type == "array":
        item = kind_of(node.items, f"{name}.@idx") if node.items is not None else None
        return list_of(item) if item is not None else None
    if node.type == "object":
        if node.additional is not None:
            value = kind_of(node.additional, f"{name}.@elem")
            return map_of(STRING, value) if value is not None else None
        return _struct(node, name)
    if node.type == "string":
        return _STRINGS.get(str(node.raw.get("format")), STRING)
    return _SCALARS.get(node.type)


def _struct(node: Node, name: str) -> Struct:
    fields = {}
    for key, child in visible(node).items():
        shown, kind = escape(key), kind_of(child, f"{name}.{key}")
        if shown is not None and kind is not None:
            fields[shown] = Field(kind, key)
    return Struct(name, fields)


def visible(node: Node) -> Mapping[str, Node]:
    """The properties of an object; a resource's type and name are always there."""
    if not (node.root or node.embedded):
        return node.properties
    own = node.properties.get("metadata")
    known = {**_META.raw["properties"], **((own.raw.get("properties") if own is not None else None) or {})}
    meta = _META if own is None else Node({"type": "object", "properties": known})
    return {**node.properties, "apiVersion": _TEXT, "kind": _TEXT, "metadata": meta}


class _Set(SetList):
    def joined(self, other: list[Any]) -> _Set:
        return _Set([*self, *(item for item in other if item not in self)])


class _Map(MapList):
    def joined(self, other: list[Any]) -> _Map:
        found = {tuple(item.get(key) for key in self.keys): item for item in self}
        found.update({tuple(item.get(key) for key in self.keys): item for item in other})
        result = _Map(found.values())
        result.keys = self.keys
        return result


def to_cel(value: Any, node: Node | None) -> Any:
    """A JSON value as an expression sees it: floating numbers, times, bytes, lists that are sets. Most values are as they are."""
    if node is None or value is None or node.plain:
        return value
    kind = type(value)
    if kind is dict:
        if node.additional is not None and not node.properties:
            return {key: to_cel(item, node.additional) for key, item in value.items()}
        return {key: to_cel(item, node.properties.get(key)) for key, item in value.items()}
    if kind is list:
        items = value if node.items is None or node.items.plain else [to_cel(item, node.items) for item in value]
        if node.list_type == "set":
            return _Set(items)
        if node.list_type == "map":
            found = _Map(items)
            found.keys = node.list_keys
            return found
        return items
    if node.type == "number" and kind is int:
        return float(value)
    if kind is str and node.type == "string" and node.raw.get("format"):
        return _formatted(value, str(node.raw["format"]))
    return value


def _formatted(value: str, format_: str) -> Any:
    try:
        if format_ == "byte":
            return base64.b64decode(value)
        if format_ in ("date", "date-time"):
            return parse_timestamp(value if "T" in value else f"{value}T00:00:00Z")
        if format_ == "duration":
            return parse_duration(value)
    except (ValueError, binascii.Error):
        return value
    return value
