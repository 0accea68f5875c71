"""Conversions between types, and the types as values."""
from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import (
    SECOND,
    Duration,
    EvaluationError,
    Timestamp,
    TypeValue,
    UInt,
    integer,
    name_of,
    parse_duration,
    parse_timestamp,
    show_double,
    unsigned,
)

TYPES = {name: TypeValue(name) for name in ("bool", "int", "uint", "double", "string", "bytes", "null_type", "list", "map", "type", "dyn",
                                            "google.protobuf.Timestamp", "google.protobuf.Duration")}
_INT, _UINT = re.compile(r"[+-]?\d+"), re.compile(r"\d+")
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[iI]nf(?:inity)?|[nN]a[nN])")
_BOOLEANS = {**dict.fromkeys(("1", "t", "true", "TRUE", "True"), True), **dict.fromkeys(("0", "f", "false", "FALSE", "False"), False)}


def _failed(value: Any, target: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{name_of(value)}' to '{target}'")


def to_int(value: Any) -> int:
    if type(value) is str:
        if _INT.fullmatch(value) is None or not -(1 << 63) <= int(value) < 1 << 63:
            raise _failed(value, "int")
        return int(value)
    if type(value) is float:
        if not math.isfinite(value) or not -(1 << 63) < value < 1 << 63:
            raise EvaluationError("integer overflow")
        return int(value)
    if isinstance(value, (Timestamp, Duration)):
        return value.ns // SECOND if isinstance(value, Timestamp) else value.ns
    return integer(int(value))


def to_uint(value: Any) -> UInt:
    if type(value) is str:
        if _UINT.fullmatch(value) is None or int(value) >= 1 << 64:
            raise _failed(value, "uint")
        return UInt(value)
    if type(value) is float and not math.isfinite(value):
        raise EvaluationError("unsigned integer overflow")
    return unsigned(int(value))


def to_double(value: Any) -> float:
    if type(value) is str and _FLOAT.fullmatch(value) is None:
        raise _failed(value, "double")
    return float(value)


def to_string(value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float:
        return show_double(value)
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from error
    return str(value)


def to_bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    found = _BOOLEANS.get(value)
    if found is None:
        raise _failed(value, "bool")
    return found


def to_timestamp(value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if type(value) is int:
        return Timestamp(value * SECOND)
    try:
        return parse_timestamp(value)
    except EvaluationError:
        raise
    except ValueError as error:
        raise _failed(value, "google.protobuf.Timestamp") from error


def to_duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if type(value) is int:
        return Duration(value)
    try:
        return parse_duration(value)
    except EvaluationError:
        raise
    except ValueError as error:
        raise _failed(value, "google.protobuf.Duration") from error


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"illegal base64 data: {error}") from error


def declare(to: Declarations) -> None:
    for name, call, sources in (
            ("int", to_int, ("int", "uint", "double", "string", "timestamp", "duration")),
            ("uint", to_uint, ("uint", "int", "double", "string")),
            ("double", to_double, ("double", "int", "uint", "string")),
            ("string", to_string, ("string", "bool", "bytes", "double", "duration", "int", "timestamp", "uint")),
            ("bytes", lambda value: value.encode() if isinstance(value, str) else value, ("bytes", "string")),
            ("bool", to_bool, ("bool", "string")),
            ("timestamp", to_timestamp, ("timestamp", "int", "string")),
            ("duration", to_duration, ("duration", "int", "string"))):
        for source in sources:
            to.add(f"{name}({source}) {name}", call, id=f"{name}_{source}" if name in ("string", "bytes") else "")
    to.add("dyn(A) dyn", lambda value: value, id="to_dyn")
    to.add("type(A) type(A)", lambda value: TypeValue(name_of(value)), id="type")
    to.add("base64.encode(bytes) string", lambda value: base64.b64encode(value).decode())
    to.add("base64.decode(string) bytes", _decoded)
