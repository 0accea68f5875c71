"""CEL types of structural schemas (`k8s.io/apiserver/pkg/cel/common/schemas.go`): objects become messages of a descriptor pool."""
from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Any

from cel_expr_python import cel
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

from kubepy.api.structural.node import Node

_RESERVED = frozenset(("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
                       "loop", "package", "namespace", "return", "var", "void", "while"))
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_SYMBOLS = {".": "__dot__", "-": "__dash__", "/": "__slash__"}
_DURATION = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_WELL_KNOWN = (struct_pb2, timestamp_pb2, duration_pb2, wrappers_pb2, any_pb2, empty_pb2)
_STRING, _DOUBLE, _INT, _BOOL, _BYTES, _MESSAGE = 9, 1, 3, 8, 12, 11
_META = Node({"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}})
_TEXT = Node({"type": "string"})
OPAQUE = ("Quantity", "URL", "IP", "CIDR", "Semver", "Opaque")
"""Kubernetes' own types, as messages of the package `kubernetes`."""


def escape(name: str) -> str | None:
    """A field's name as CEL spells it, or None where it cannot be named (`cel.Escape`)."""
    if name in _RESERVED:
        return f"__{name}__"
    shown = name.replace("__", "__underscores__")
    for char, text in _SYMBOLS.items():
        shown = shown.replace(char, text)
    return shown if _IDENTIFIER.fullmatch(shown) else None


class Pool:
    """Collects the messages of schemas; `signature` gives the CEL type of a node. Without `escaping` fields keep the names they have
    (`request.namespace` of admission)."""

    def __init__(self, *, escaping: bool = True) -> None:
        self._escape = escape if escaping else str
        self.pool = descriptor_pool.DescriptorPool()
        for module in _WELL_KNOWN:
            known = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(known)
            self.pool.Add(known)
        own = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package="kubernetes", syntax="proto3")
        for name in OPAQUE:
            message = own.message_type.add(name=name)
            message.field.add(name="kind", number=1, type=_STRING, label=1)
            message.field.add(name="value", number=2, type=_STRING, label=1)
        self.pool.Add(own)
        self._count = 0

    def signature(self, node: Node) -> str:
        """The type of a node as `cel.Type` reads it."""
        kind = node.type
        if node.int_or_string:
            return "dyn"
        if kind == "array":
            return f"list({self.signature(node.items) if node.items is not None else 'dyn'})"
        if kind == "object":
            if node.additional is not None:
                return f"map(string,{self.signature(node.additional)})"
            return self._message(node)
        if kind == "string":
            return {"byte": "bytes", "duration": "google.protobuf.Duration", "date": "google.protobuf.Timestamp",
                    "date-time": "google.protobuf.Timestamp"}.get(str(node.raw.get("format")), "string")
        return {"integer": "int", "number": "double", "boolean": "bool"}.get(kind, "dyn")

    def _message(self, node: Node) -> str:
        """Registers the message of an object; its name."""
        self._count += 1
        name = f"Object{self._count}"
        file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="schema", syntax="proto2")
        file.dependency.extend(("google/protobuf/struct.proto", "google/protobuf/timestamp.proto", "google/protobuf/duration.proto"))
        message = file.message_type.add(name=name)
        properties = dict(node.properties)
        if node.root or node.embedded:
            properties = {**properties, "apiVersion": _TEXT, "kind": _TEXT, "metadata": _meta_of(node)}
        number = 0
        for field, child in properties.items():
            shown = self._escape(field)
            if shown is None or (not child.type and not child.int_or_string):
                continue
            number += 1
            self._field(file, message, shown, number, child)
        self.pool.Add(file)
        return f"schema.{name}"

    def _field(self, file: Any, message: Any, name: str, number: int, node: Node) -> None:
        if node.type == "array" and node.items is not None:
            kind, target = self._element(node.items)
            self._add(file, message, name, number, kind, target, repeated=True)
        elif node.type == "object" and node.additional is not None and not node.properties:
            kind, target = self._element(node.additional)
            # protobuf knows a map by the name of its entries
            title = f"{''.join(part[:1].upper() + part[1:] for part in name.split('_'))}Entry"
            entry = message.nested_type.add(name=title)
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_STRING, label=1)
            self._add(file, entry, "value", 2, kind, target)
            field = message.field.add(name=name, number=number, type=_MESSAGE, label=3, json_name=f"x{number}")
            field.type_name = f".schema.{message.name}.{title}"
        else:
            kind, target = self._element(node)
            self._add(file, message, name, number, kind, target)

    def _add(self, file: Any, message: Any, name: str, number: int, kind: int, target: str, *, repeated: bool = False) -> None:
        field = message.field.add(name=name, number=number, type=kind, label=3 if repeated else 1, json_name=f"x{number}")
        if target:
            field.type_name = f".{target}"
            if target.startswith("schema."):
                file.dependency.append(f"{target.removeprefix('schema.')}.proto")

    def _element(self, node: Node) -> tuple[int, str]:
        """How a value stands in a message: proto has no lists of lists, they are lists of anything."""
        if node.int_or_string:
            return _MESSAGE, "google.protobuf.Value"
        if node.type == "array":
            return _MESSAGE, "google.protobuf.ListValue"
        if node.type == "object":
            return (_MESSAGE, "google.protobuf.Struct") if node.additional is not None else (_MESSAGE, self._message(node))
        if node.type == "string":
            format_ = str(node.raw.get("format"))
            if format_ in ("date", "date-time"):
                return _MESSAGE, "google.protobuf.Timestamp"
            if format_ == "duration":
                return _MESSAGE, "google.protobuf.Duration"
            return (_BYTES if format_ == "byte" else _STRING), ""
        scalar = {"integer": _INT, "number": _DOUBLE, "boolean": _BOOL}.get(node.type)
        return (scalar, "") if scalar is not None else (_MESSAGE, "google.protobuf.Value")


def cel_type(signature: str) -> Any:
    """The type a signature names: `map(string,list(dyn))`, `schema.Object1`, …"""
    if signature == "dyn":
        return cel.Type.DYN
    if signature.startswith("list("):
        return cel.Type.List(cel_type(signature[5:-1]))
    if signature.startswith("map("):
        key, _, value = signature[4:-1].partition(",")
        return cel.Type.Map(cel_type(key), cel_type(value))
    return cel.Type(signature)


def _meta_of(node: Node) -> Node:
    """Of the metadata name and generateName are seen."""
    own = node.properties.get("metadata")
    if own is None:
        return _META
    return Node({"type": "object", "properties": {**_META.raw["properties"], **(own.raw.get("properties") or {})}})


def to_cel(value: Any, node: Node | None) -> Any:
    """A JSON value as an expression sees it: escaped names, floating numbers, times; unknown fields are not seen."""
    if node is None or value is None:
        return value
    kind = type(value)
    if kind is dict:
        if node.additional is not None and not node.properties:
            return {key: to_cel(item, node.additional) for key, item in value.items()}
        found = {}
        properties = node.properties
        resource = node.root or node.embedded
        for key, item in value.items():
            child = properties.get(key)
            if resource and key in ("apiVersion", "kind", "metadata"):
                child = _TEXT if key != "metadata" else _META
            if child is not None and (child.type or child.int_or_string) and (shown := escape(key)) is not None:
                found[shown] = to_cel(item, child)
        return found
    if kind is list:
        return [to_cel(item, node.items) for item in value]
    if node.type == "number" and kind is int:
        return float(value)
    if kind is str and node.raw.get("format"):
        return _formatted(value, str(node.raw["format"]))
    return value


def _formatted(value: str, format_: str) -> Any:
    try:
        if format_ == "byte":
            return base64.b64decode(value)
        if format_ in ("date", "date-time"):
            moment = timestamp_pb2.Timestamp()
            stamp = datetime.fromisoformat(value if "T" in value else f"{value}T00:00:00+00:00")
            moment.FromDatetime(stamp)
            return moment
        if format_ == "duration":
            length = duration_pb2.Duration()
            length.FromTimedelta(timedelta(seconds=sum(float(match[1]) * _UNITS[match[2]] for match in _DURATION.finditer(value))))
            return length
    except (ValueError, binascii.Error):
        return value
    return value
