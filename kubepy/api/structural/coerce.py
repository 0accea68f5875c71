"""Metadata of resources and of resources within them, read as Go reads an ObjectMeta (`pkg/apiserver/schema/objectmeta`)."""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.schema import definitions
from kubepy.api.schema.decode import DecodeError, StrictError, decode
from kubepy.api.schema.shape import Struct, struct
from kubepy.api.structural.node import Node
from kubepy.api.types import Object


class CoerceError(ValueError):
    """Metadata or type metadata of a wrong type; the message is Kubernetes'."""


def _shape() -> Struct:
    return struct(f"{definitions.META}.ObjectMeta")


def coerce_metadata(metadata: Any, unknown: list[str], path: str) -> Object:
    """The metadata in Go's normal form; unknown fields are dropped and named. Raises CoerceError."""
    if not isinstance(metadata, dict):
        raise CoerceError(f"json: cannot unmarshal {_go(metadata)} into Go value of type v1.ObjectMeta")
    try:
        found, _ = decode(_shape(), metadata, validation="Strict")
        return found
    except StrictError:
        pass
    except DecodeError as error:
        raise CoerceError(_named(str(error))) from error
    found, problems = decode(_shape(), metadata, validation="Warn")
    for text in problems:
        if text.startswith('unknown field "'):
            unknown.append(f"{path}.{text.removeprefix('unknown field ').strip(chr(34))}")
    return found


def coerce(obj: Object, node: Node, unknown: list[str], *, drop_invalid: bool = False) -> None:
    """Coerces the metadata of the embedded resources of an object, in place.

    `drop_invalid` is for stored objects: what is wrong is dropped instead of refused (CoerceError)."""
    if node.embeds:
        for name, child in node.properties.items():
            if child.embeds and name in obj and name != "metadata":
                _embedded(obj[name], child, name, unknown, drop_invalid)


def _embedded(value: Any, node: Node, path: str, unknown: list[str], drop: bool) -> None:
    if type(value) is dict:
        if node.embedded:
            _one(value, path, unknown, drop)
        for key, item in value.items():
            child = node.child(key)
            if child is not None and child.embeds and not (node.embedded and key == "metadata"):
                _embedded(item, child, f"{path}.{key}", unknown, drop)
    elif type(value) is list and node.items is not None and node.items.embeds:
        for position, item in enumerate(value):
            _embedded(item, node.items, f"{path}[{position}]", unknown, drop)


def _one(value: Object, path: str, unknown: list[str], drop: bool) -> None:
    for field in ("apiVersion", "kind"):
        if field in value and not isinstance(value[field], str):
            if not drop:
                shown = orjson.dumps(value[field]).decode()
                raise CoerceError(f"{path}.{field}: Invalid value: {shown}: must be a string")
            del value[field]
    if "metadata" not in value:
        return
    try:
        value["metadata"] = coerce_metadata(value["metadata"], unknown, f"{path}.metadata")
    except CoerceError as error:
        if not drop:
            shown = orjson.dumps(value["metadata"], option=orjson.OPT_SORT_KEYS).decode()
            raise CoerceError(f"{path}.metadata: Invalid value: {shown}: {error}") from error
        del value["metadata"]


def _named(text: str) -> str:
    return text.replace("Go struct field .", "Go struct field ObjectMeta.")


def _go(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, (int, float)) else "array"
