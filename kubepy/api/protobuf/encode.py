"""The JSON form of an object to protobuf, as Go clients prefer it: `runtime.Unknown` with the object's own message inside.

Every message is turned into a table of closures once; an object is then written in one pass. What is absent in JSON stays absent,
which every reader takes for the zero value; upstream writes those zeros. Raises Unencodable where a kind has no message or an object
has a field without a number: such an object is answered as JSON rather than with something missing.
"""
from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import orjson

from kubepy.api.protobuf.decode import MAGIC
from kubepy.api.protobuf.table import Field, message, message_name
from kubepy.api.types import Object

Write = Callable[[Any], bytes]
"""A value as the bytes of its field's content, without tag and length."""
Put = Callable[[list[bytes], Any], None]
"""Appends a field with its tag."""


class Unencodable(ValueError):
    """The object has no protobuf form here; the text says why."""


def encode_body(obj: Object, *, lossy: bool = False) -> bytes:
    """The object in its envelope. `lossy` leaves out fields without a number, for streams that cannot change their form any more.

    Raises Unencodable."""
    api_version, kind = obj.get("apiVersion") or "v1", obj.get("kind", "")
    name = message_name(api_version, kind)
    if name is None:
        raise Unencodable(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
    try:
        raw = _writer(name, lossy)(obj)
    except (TypeError, ValueError, AttributeError, KeyError, struct.error) as error:
        raise Unencodable(f"{kind}: {error}") from error
    return envelope(api_version, kind, raw)


def encodable(api_version: str, kind: str) -> bool:
    """Whether a kind has a message at all."""
    return message_name(api_version, kind) is not None


@lru_cache(maxsize=512)
def _head(api_version: str, kind: str) -> bytes:
    return MAGIC + _delimited(b"\x0a", _delimited(b"\x0a", api_version.encode()) + _delimited(b"\x12", kind.encode())) + b"\x12"


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """A `runtime.Unknown` of the encoded message, with the empty encoding and content type that Go writes."""
    return b"%b%b%b\x1a\x00\x22\x00" % (_head(api_version, kind), _varint(len(raw)), raw)


def encode_event(type_: str, body: bytes) -> bytes:
    """A frame of a watch: the length in four bytes, then a `WatchEvent` around an object in its envelope."""
    event = _delimited(b"\x0a", type_.encode()) + _delimited(b"\x12", _delimited(b"\x0a", body))
    return struct.pack(">I", len(event)) + event


def _varint(value: int) -> bytes:
    if 0 <= value < 128:
        return _SMALL[value]
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [bytes([value]) for value in range(128)]


def _delimited(tag: bytes, data: bytes) -> bytes:
    return b"%b%b%b" % (tag, _varint(len(data)), data)


@cache
def _writer(name: str, lossy: bool) -> Write:
    """What writes a message. Messages may contain themselves, so fields find their writers when they are first used."""
    if (special := _SPECIAL.get(name)) is not None:
        return special
    puts: dict[str, Put] = {}
    inlined: list[tuple[bytes, frozenset[str], Write]] = []
    for number, field in message(name).items():
        if field.name == "+":
            inlined.append((_varint(number << 3 | 2), frozenset(_names(field.type)), _writer(field.type, lossy)))
        else:
            puts[field.name] = _put(number, field, lossy)
    homes = {key: at for at, (_, names, _) in enumerate(inlined) for key in names}

    def write(obj: Mapping[str, Any]) -> bytes:
        out: list[bytes] = []
        parts: dict[int, Object] = {}
        for key, value in obj.items():
            if value is None:
                continue
            put = puts.get(key)
            if put is not None:
                put(out, value)
            elif key in homes:
                parts.setdefault(homes[key], {})[key] = value
            elif not lossy and key not in ("kind", "apiVersion"):
                raise Unencodable(f"message {name} has no field {key}")
        for at, part in parts.items():
            out.append(_delimited(inlined[at][0], inlined[at][2](part)))
        return b"".join(out)

    return write


def _names(name: str) -> set[str]:
    """The JSON fields of a message with those of what is inlined in it."""
    found: set[str] = set()
    for field in message(name).values():
        found |= _names(field.type) if field.name == "+" else {field.name}
    return found


def _put(number: int, field: Field, lossy: bool) -> Put:
    if field.wrap == "map":
        return _put_map(_varint(number << 3 | 2), field.type, lossy)
    wire, write = _WIRE.get(field.type, 2), _value_writer(field.type, lossy)
    tag = _varint(number << 3 | wire)
    plain: Put
    if wire == 2:
        def plain(out: list[bytes], value: Any) -> None:
            data = write(value)
            out.append(b"%b%b%b" % (tag, _varint(len(data)), data))
    else:
        def plain(out: list[bytes], value: Any) -> None:
            out.append(tag + write(value))
    if field.wrap != "list":
        return plain

    def every(out: list[bytes], values: Any) -> None:
        for value in values:
            plain(out, value)

    return every


def _put_map(tag: bytes, kind: str, lossy: bool) -> Put:
    wire, write = _WIRE.get(kind, 2), _value_writer(kind, lossy)
    second = _varint(2 << 3 | wire)

    def put(out: list[bytes], value: Any) -> None:
        for key, item in value.items():
            data = b"" if item is None else write(item)
            if wire == 2:
                data = _varint(len(data)) + data
            out.append(_delimited(tag, b"%b%b%b" % (_delimited(b"\x0a", key.encode()), second, data)))

    return put


def _value_writer(kind: str, lossy: bool) -> Write:
    scalar = _SCALAR.get(kind)
    if scalar is not None:
        return scalar
    return lambda value: _writer(kind, lossy)(value)


def _string(value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # type: ignore[no-any-return]


def _number(value: Any) -> bytes:
    return _varint(int(value))


_WIRE = {"int": 0, "bool": 0, "double": 1}
_SCALAR: dict[str, Write] = {
    "string": _string, "bytes": base64.b64decode, "int": _number, "bool": _number,
    "double": lambda value: struct.pack("<d", value),
}


@lru_cache(maxsize=4096)
def _seconds(text: str) -> tuple[int, int]:
    """Seconds since the epoch, and nanoseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return int(moment.timestamp()), int(fraction.ljust(9, "0")[:9]) if fraction else 0


def _time(value: Any) -> bytes:
    seconds, nanos = _seconds(value)
    return b"\x08%b\x10%b" % (_varint(seconds), _varint(nanos))


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _delimited(b"\x1a", value.encode())
    return b"\x08\x00\x10%b\x1a\x00" % _varint(value)


def _json(value: Any) -> bytes:
    return _delimited(b"\x0a", orjson.dumps(value))


def _items(value: Any) -> bytes:
    return b"".join(_delimited(b"\x0a", item.encode()) for item in value)


def _list_meta(value: Mapping[str, Any]) -> bytes:
    """The one message whose zeros are written: they stand in every list and Status, and are compared."""
    out = b"".join(_delimited(bytes((number << 3 | 2,)), str(value.get(key) or "").encode())
                   for number, key in ((1, "selfLink"), (2, "resourceVersion"), (3, "continue")))
    remaining = value.get("remainingItemCount")
    return out if remaining is None else b"%b\x20%b" % (out, _varint(int(remaining)))


_SPECIAL: dict[str, Write] = {
    "meta.v1.ListMeta": _list_meta,
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _time,
    "meta.v1.FieldsV1": _json,
    "meta.v1.Verbs": _items,
    "authentication.v1.ExtraValue": _items,
    "authorization.v1.ExtraValue": _items,
    "certificates.v1.ExtraValue": _items,
    "intstr.IntOrString": _int_or_string,
    "resource.Quantity": lambda value: _delimited(b"\x0a", str(value).encode()),
    "runtime.RawExtension": _json,
}
"""Messages that JSON shows in another form than an object."""
