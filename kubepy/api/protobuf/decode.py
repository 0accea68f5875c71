"""Protobuf to the JSON form of an object.

Fields that Go writes although they are zero come out as zeros; decoding by schema drops them as it does for JSON bodies.
A field number that is not known is passed over: older clients send fields that are gone (ObjectMeta.clusterName is in every object of
a 1.20 client), newer ones fields that are not here yet.
"""
from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import orjson

from kubepy.api.protobuf.table import SCALARS, Field, message, message_name
from kubepy.api.types import Object
from kubepy.base.clock import format_time

MAGIC = b"k8s\x00"
MAX_DEPTH = 100


class ProtobufError(ValueError):
    """The bytes are no such message; the text says why."""


def decode_body(data: bytes) -> tuple[Object, str, str]:
    """The object in an envelope (`runtime.Unknown`), its apiVersion and kind. Raises ProtobufError."""
    if not data.startswith(MAGIC):
        prefix = " ".join(str(byte) for byte in MAGIC)
        raise ProtobufError(f"provided data does not appear to be a protobuf message, expected prefix [{prefix}]")
    envelope = _message(data[len(MAGIC):], "runtime.Unknown", 0)
    meta = envelope.get("typeMeta") or {}
    api_version, kind = meta.get("apiVersion", ""), meta.get("kind", "")
    name = message_name(api_version, kind)
    if name is None:
        raise ProtobufError(f"no kind \"{kind}\" is registered for version \"{api_version}\" in protobuf; send JSON")
    obj = _message(base64.b64decode(envelope.get("raw", "")), name, 0)
    return {"apiVersion": api_version, "kind": kind, **obj}, api_version, kind


def _message(data: bytes, name: str, depth: int) -> Object:
    if depth > MAX_DEPTH:
        raise ProtobufError("messages are nested too deeply")
    fields = message(name)
    out: Object = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        field = fields.get(number)
        value, at = _value(data, at, wire)
        if field is None:
            continue
        if field.wrap == "map":
            key, item = _entry(value, field, name, depth)
            out.setdefault(field.name, {})[key] = item
        elif field.wrap == "list":
            items = out.setdefault(field.name, [])
            if isinstance(value, bytes) and field.type in ("int", "bool"):
                items.extend(_packed(value, field))
            else:
                items.append(_convert(value, field.type, name, depth))
        elif field.name == "+":
            out.update(_convert(value, field.type, name, depth))
        else:
            out[field.name] = _convert(value, field.type, name, depth)
    return out


def _entry(value: Any, field: Field, name: str, depth: int) -> tuple[str, Any]:
    """One pair of a map: a message with the key as field 1 and the value as field 2."""
    if not isinstance(value, bytes):
        raise ProtobufError(f"a map entry of {name} has the wrong wire type")
    key, item, at = "", _EMPTY, 0
    while at < len(value):
        tag, at = _varint(value, at)
        part, at = _value(value, at, tag & 7)
        if tag >> 3 == 1:
            key = _text(part)
        else:
            item = _convert(part, field.type, name, depth)
    return key, _convert(b"", field.type, name, depth) if item is _EMPTY else item


_EMPTY: Any = object()


def _convert(value: Any, kind: str, name: str, depth: int) -> Any:
    if kind in SCALARS:
        return _scalar(value, kind, name)
    if not isinstance(value, bytes):
        raise ProtobufError(f"a field of {name} has the wrong wire type for {kind}")
    special = _SPECIAL.get(kind)
    inner = _message(value, kind, depth + 1)
    return special(inner) if special else inner


def _scalar(value: Any, kind: str, name: str) -> Any:
    if kind == "string":
        return _text(value)
    if kind == "bytes":
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
    elif kind == "double":
        if isinstance(value, bytes) and len(value) == 8:
            return struct.unpack("<d", value)[0]
    elif isinstance(value, int):
        if kind == "bool":
            return value != 0
        return value - (1 << 64) if value >= 1 << 63 else value
    raise ProtobufError(f"a field of {name} has the wrong wire type for {kind}")


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise ProtobufError("a string has the wrong wire type")
    return value.decode(errors="replace")


def _packed(data: bytes, field: Field) -> list[Any]:
    out, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        out.append(_scalar(number, field.type, field.name))
    return out


def _value(data: bytes, at: int, wire: int) -> tuple[Any, int]:
    if wire == 0:
        return _varint(data, at)
    if wire == 2:
        size, at = _varint(data, at)
    elif wire in (1, 5):
        size = 8 if wire == 1 else 4
    else:
        raise ProtobufError(f"wire type {wire} is not supported")
    if at + size > len(data):
        raise ProtobufError("unexpected EOF")
    return data[at:at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data):
            raise ProtobufError("unexpected EOF")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise ProtobufError("a varint is too long")


def _time(value: Object) -> str | None:
    """The zero time is an empty message and null in JSON."""
    if not value:
        return None
    return _checked(value.get("seconds", 0))


def _micro_time(value: Object) -> str | None:
    if not value:
        return None
    return f"{_checked(value.get('seconds', 0))[:-1]}.{value.get('nanos', 0) // 1000 % 10**6:06d}Z"


def _checked(seconds: int) -> str:
    try:
        return format_time(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise ProtobufError(f"a time is out of range: {error}") from error


def _json(value: Object, field: str) -> Any:
    raw = base64.b64decode(value.get(field, ""))
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        raise ProtobufError(f"embedded JSON is broken: {error}") from error


def _int_or_string(value: Object) -> int | str:
    return str(value.get("strVal", "")) if value.get("type", 0) == 1 else int(value.get("intVal", 0))


def _items(value: Object) -> list[Any]:
    found: list[Any] = value.get("items", [])
    return found


_SPECIAL: dict[str, Callable[[Object], Any]] = {
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": lambda value: _json(value, "Raw"),
    "meta.v1.Verbs": _items,
    "authentication.v1.ExtraValue": _items,
    "authorization.v1.ExtraValue": _items,
    "certificates.v1.ExtraValue": _items,
    "intstr.IntOrString": _int_or_string,
    "resource.Quantity": lambda value: value.get("string", ""),
    "runtime.RawExtension": lambda value: _json(value, "raw"),
}
"""Messages that JSON shows in another form than an object."""
