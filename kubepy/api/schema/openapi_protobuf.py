"""OpenAPI documents in gnostic's protobuf form, which client-go, older kubectls and Helm ask for.

The message layouts (`openapi.v2`, `openapi.v3`) are tables: JSON key, field number, how the value is written. Extensions (`x-…`) and
free values travel as YAML texts, for which JSON will do. Known difference: defaults that are objects are left out of v3.
"""
from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kubepy.api.types import Object

V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"

Write = Callable[[int, Any], bytes]


def v2_protobuf(document: Object) -> bytes:
    """A Swagger 2.0 document as `openapi.v2.Document`."""
    return _message(_V2_DOCUMENT, document)


def v3_protobuf(document: Object) -> bytes:
    """An OpenAPI 3.0 document as `openapi.v3.Document`."""
    return _message(_V3_DOCUMENT, document)


class Layout:
    """A message: its fields by JSON key, and the number of its repeated extensions."""

    __slots__ = ("extensions", "fields")

    def __init__(self, extensions: int = 0, **fields: tuple[int, Write]) -> None:
        self.fields: dict[str, tuple[int, Write]] = {}
        self.extensions = extensions
        for name, field in fields.items():
            self.fields[_KEYS.get(name, name)] = field


_KEYS = {"ref": "$ref", "in_": "in", "not_": "not"}


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _block(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _message(layout: Layout, value: Mapping[str, Any]) -> bytes:
    parts = []
    for key, item in value.items():
        field = layout.fields.get(key)
        if field is not None:
            parts.append(field[1](field[0], item))
        elif layout.extensions and key.startswith("x-"):
            parts.append(_block(layout.extensions, _named(key, _any(item))))
    return b"".join(parts)


def _any(value: Any) -> bytes:
    return _block(2, orjson.dumps(value) + b"\n")


def _named(name: str, data: bytes) -> bytes:
    return _block(1, name.encode()) + _block(2, data)


def _text(number: int, value: Any) -> bytes:
    return _block(number, value.encode()) if value else b""


def _texts(number: int, value: Any) -> bytes:
    return b"".join(_block(number, item.encode()) for item in value)


def _flag(number: int, value: Any) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _integer(number: int, value: Any) -> bytes:
    return _varint(number << 3) + _varint(int(value)) if value else b""


def _double(number: int, value: Any) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value) if value else b""


def _one_any(number: int, value: Any) -> bytes:
    return _block(number, _any(value))


def _anys(number: int, value: Any) -> bytes:
    return b"".join(_block(number, _any(item)) for item in value)


def _of(layout: Callable[[], Layout]) -> Write:
    return lambda number, value: _block(number, _message(layout(), value))


def _wrapped(write: Write, inner: int = 1) -> Write:
    """A value in a message that holds only it."""
    return lambda number, value: _block(number, write(inner, value))


def _each(write: Write) -> Write:
    return lambda number, value: b"".join(write(number, item) for item in value)


def _map(write: Write, inner: int = 1) -> Write:
    """A message of (name, value) pairs at field `inner`."""
    def pairs(number: int, value: Any) -> bytes:
        entries = (_block(inner, _block(1, name.encode()) + write(2, item)) for name, item in value.items() if not name.startswith("x-"))
        return _block(number, b"".join(entries))
    return pairs


def _additional(write: Write) -> Write:
    def item(number: int, value: Any) -> bytes:
        if isinstance(value, bool):
            return _block(number, b"\x10\x01" if value else b"\x10\x00")
        return _block(number, write(1, value))
    return item


def _default3(number: int, value: Any) -> bytes:
    if isinstance(value, bool):
        return _block(number, b"\x10\x01" if value else b"\x10\x00")
    if isinstance(value, (int, float)):
        return _block(number, b"\x09" + struct.pack("<d", value))
    return _block(number, _block(3, value.encode())) if isinstance(value, str) else b""


def _schema2(number: int, value: Any) -> bytes:
    return _block(number, _message(_V2_SCHEMA, value))


def _schema3(number: int, value: Any) -> bytes:
    """SchemaOrReference."""
    if "$ref" in value:
        return _block(number, _block(2, _block(1, value["$ref"].encode())))
    return _block(number, _block(1, _message(_V3_SCHEMA, value)))


def _parameter2(number: int, value: Any) -> bytes:
    if value["in"] == "body":
        return _block(number, _block(1, _block(1, _message(_V2_BODY, value))))
    layout, kind = (_V2_PATH_PARAMETER, 4) if value["in"] == "path" else (_V2_QUERY_PARAMETER, 3)
    return _block(number, _block(1, _block(2, _block(kind, _message(layout, value)))))


def _security2(number: int, value: Any) -> bytes:
    return _block(number, b"".join(_block(1, _named(name, _texts(1, scopes))) for name, scopes in value.items()))


_NUMBERS2 = {"multipleOf": (6, _double), "maximum": (7, _double), "exclusiveMaximum": (8, _flag), "minimum": (9, _double),
             "exclusiveMinimum": (10, _flag), "maxLength": (11, _integer), "minLength": (12, _integer), "pattern": (13, _text),
             "maxItems": (14, _integer), "minItems": (15, _integer), "uniqueItems": (16, _flag), "maxProperties": (17, _integer),
             "minProperties": (18, _integer)}
_NUMBERS3 = {"multipleOf": (10, _double), "maximum": (11, _double), "exclusiveMaximum": (12, _flag), "minimum": (13, _double),
             "exclusiveMinimum": (14, _flag), "maxLength": (15, _integer), "minLength": (16, _integer), "pattern": (17, _text),
             "maxItems": (18, _integer), "minItems": (19, _integer), "uniqueItems": (20, _flag), "maxProperties": (21, _integer),
             "minProperties": (22, _integer)}

_V2_SCHEMA: Layout = Layout(31, ref=(1, _text), format=(2, _text), title=(3, _text), description=(4, _text), default=(5, _one_any),
                            **_NUMBERS2,
                    required=(19, _texts), enum=(20, _anys), additionalProperties=(21, _additional(_schema2)), type=(22, _wrapped(_text)),
                    items=(23, _wrapped(_schema2)), allOf=(24, _each(_schema2)), properties=(25, _map(_schema2)), example=(30, _one_any))
_V2_BODY = Layout(6, description=(1, _text), name=(2, _text), in_=(3, _text), required=(4, _flag), schema=(5, _schema2))
_V2_QUERY_PARAMETER = Layout(23, required=(1, _flag), in_=(2, _text), description=(3, _text), name=(4, _text), type=(6, _text),
                             format=(7, _text), uniqueItems=(20, _flag))
_V2_PATH_PARAMETER = Layout(22, required=(1, _flag), in_=(2, _text), description=(3, _text), name=(4, _text), type=(5, _text),
                            format=(6, _text), uniqueItems=(19, _flag))
_V2_RESPONSE = Layout(5, description=(1, _text), schema=(2, _wrapped(_schema2)))
_V2_OPERATION = Layout(13, tags=(1, _texts), description=(3, _text), operationId=(5, _text), produces=(6, _texts), consumes=(7, _texts),
                       parameters=(8, _each(_parameter2)), responses=(9, _map(_wrapped(_of(lambda: _V2_RESPONSE)))), schemes=(10, _texts),
                       deprecated=(11, _flag))
_OPERATION2 = _of(lambda: _V2_OPERATION)
_V2_PATH = Layout(10, get=(2, _OPERATION2), put=(3, _OPERATION2), post=(4, _OPERATION2), delete=(5, _OPERATION2), options=(6, _OPERATION2),
                  head=(7, _OPERATION2), patch=(8, _OPERATION2), parameters=(9, _each(_parameter2)))
_V2_KEY = Layout(5, type=(1, _text), name=(2, _text), in_=(3, _text), description=(4, _text))
_V2_DOCUMENT = Layout(16, swagger=(1, _text), info=(2, _of(lambda: Layout(title=(1, _text), version=(2, _text)))),
                      paths=(8, _map(_of(lambda: _V2_PATH), 2)), definitions=(9, _map(_schema2)), security=(12, _each(_security2)),
                      securityDefinitions=(13, _map(_wrapped(_of(lambda: _V2_KEY), 2))))

_V3_SCHEMA: Layout = Layout(36, nullable=(1, _flag), example=(7, _one_any), title=(9, _text), **_NUMBERS3,
                            required=(23, _texts), enum=(24, _anys),
                    type=(25, _text), allOf=(26, _each(_schema3)), oneOf=(27, _each(_schema3)), anyOf=(28, _each(_schema3)),
                    not_=(29, _of(lambda: _V3_SCHEMA)), items=(30, _wrapped(_schema3)), properties=(31, _map(_schema3)),
                    additionalProperties=(32, _additional(_schema3)), default=(33, _default3), description=(34, _text), format=(35, _text))
_V3_MEDIA = _map(_of(lambda: Layout(schema=(1, _schema3))))
_V3_PARAMETER = Layout(14, name=(1, _text), in_=(2, _text), description=(3, _text), required=(4, _flag), schema=(10, _schema3))
_V3_RESPONSE = Layout(5, description=(1, _text), content=(3, _V3_MEDIA))
_V3_BODY = Layout(4, description=(1, _text), content=(2, _V3_MEDIA), required=(3, _flag))
_V3_OPERATION = Layout(13, tags=(1, _texts), description=(3, _text), operationId=(5, _text),
                       parameters=(6, _each(_wrapped(_of(lambda: _V3_PARAMETER)))), requestBody=(7, _wrapped(_of(lambda: _V3_BODY))),
                       responses=(8, _map(_wrapped(_of(lambda: _V3_RESPONSE)), 2)), deprecated=(10, _flag))
_OPERATION3 = _of(lambda: _V3_OPERATION)
_V3_PATH = Layout(14, get=(4, _OPERATION3), put=(5, _OPERATION3), post=(6, _OPERATION3), delete=(7, _OPERATION3), options=(8, _OPERATION3),
                  head=(9, _OPERATION3), patch=(10, _OPERATION3), parameters=(13, _each(_wrapped(_of(lambda: _V3_PARAMETER)))))
_V3_SECURITY = Layout(9, type=(1, _text), description=(2, _text), name=(3, _text), in_=(4, _text))
_V3_COMPONENTS = Layout(10, schemas=(1, _map(_schema3)), securitySchemes=(7, _map(_wrapped(_of(lambda: _V3_SECURITY)))))
_V3_DOCUMENT = Layout(9, openapi=(1, _text), info=(2, _of(lambda: Layout(title=(1, _text), version=(6, _text)))),
                      paths=(4, _map(_of(lambda: _V3_PATH))), components=(5, _of(lambda: _V3_COMPONENTS)))
