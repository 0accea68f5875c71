"""Brings a decoded object into the shape in which Kubernetes stores and answers it.

What a Go server does by decoding into structs and encoding them again: nulls and zero values of plain optional fields go away,
required and embedded fields appear, quantities are written canonically, times in UTC. Walks the published schema, compiled once for
each definition into a list of steps; `shape_table` adds what the schema does not say. Unknown fields are left to the decoder.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from kubepy.api.quantity import QuantityError, parse_quantity
from kubepy.api.types import Object
from kubepy.apiserver.registry import shape_table
from kubepy.apiserver.registry.docs import definitions, short

Shaper = Callable[[Any], Any]
"""Gives a value its final shape (changing containers in place); None: the value is a zero."""

_OPAQUE = {"runtime.RawExtension", "meta.v1.FieldsV1", "apiextensions.v1.JSON", "apiextensions.v1.JSONSchemaPropsOrBool",
           "apiextensions.v1.JSONSchemaPropsOrArray", "apiextensions.v1.JSONSchemaPropsOrStringArray", "meta.v1.ManagedFieldsEntry"}
_TIMES = {"meta.v1.Time", "meta.v1.MicroTime"}
_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_ZERO: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": None, "object": None}


def normalize(obj: Object) -> None:
    """Shapes an object of a built-in kind in place, by its apiVersion and kind."""
    name = definition_of(obj.get("apiVersion", ""), obj.get("kind", ""))
    if name:
        shape(obj, name)


def shape(value: Object, definition: str) -> None:
    """Shapes a value of the named definition in place."""
    _struct(definition)(value)


@cache
def definition_of(api_version: str, kind: str) -> str:
    """The definition of a kind, or "" when there is none."""
    return _by_kind().get((api_version, kind), "")


@cache
def _by_kind() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for name, definition in definitions().items():
        for gvk in definition.get("x-kubernetes-group-version-kind", ()):
            api_version = f"{gvk['group']}/{gvk['version']}" if gvk["group"] else gvk["version"]
            if name.endswith(f".{gvk['version']}.{gvk['kind']}"):
                found[api_version, gvk["kind"]] = name
    return found


@cache
def _struct(name: str) -> Shaper:
    """The shaper of a structure: steps for the fields it may have, then what it must have."""
    definition = definitions()[name]
    properties: Object = definition.get("properties", {})
    required = frozenset(definition.get("required", ())) - shape_table.absent().get(name, frozenset())
    kept = shape_table.pointers().get(name, frozenset())
    forced = (required | shape_table.always().get(name, frozenset()) | shape_table.null_times().get(name, frozenset())) & properties.keys()
    embedded = set(shape_table.embedded().get(name, ()))
    if "x-kubernetes-group-version-kind" in definition and "items" not in properties:
        embedded |= {"metadata", "spec", "status"} & properties.keys()
    fields: dict[str, tuple[Shaper, bool]] = {}
    missing: list[tuple[str, Shaper | None, Any]] = []
    for field, schema in properties.items():
        shaper = _shaper(schema)
        is_struct = _is_struct(schema)
        fields[field] = (shaper, field in kept or field in forced)
        if is_struct and (field in embedded or (field in forced and field not in kept)):
            missing.append((field, shaper, None))
        elif field in forced:
            missing.append((field, None, None if field in kept else _zero(schema)))

    def run(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for field in list(value):
            known = fields.get(field)
            if known is None:
                continue
            shaper, keep_zero = known
            item = value[field]
            if item is None:
                del value[field]
                continue
            shaped = shaper(item)
            if shaped is None and not keep_zero:
                del value[field]
            elif shaped is not None and shaped is not item:
                value[field] = shaped
        for field, make, zero in missing:
            if field not in value:
                if make is None:
                    value[field] = zero
                else:
                    value[field] = make({})
        return value

    return run


def _shaper(schema: Object) -> Shaper:
    reference = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref")
    if reference:
        return _reference(short(reference.rpartition("/")[2]))
    kind = _type(schema)
    if kind == "array":
        return _array(schema.get("items", {}))
    if kind == "object":
        extra = schema.get("additionalProperties")
        return _map(extra) if isinstance(extra, dict) else _same
    return _scalar


def _reference(name: str) -> Shaper:
    if name in _OPAQUE:
        return _same
    if name in _TIMES:
        return _time if name == "meta.v1.Time" else _micro_time
    if name == "api.resource.Quantity":
        return _quantity
    if name == "util.intstr.IntOrString":
        return _same
    definition = definitions()[name]
    if "properties" in definition:
        run: list[Shaper] = []  # definitions can contain themselves: look the shaper up when it is first used

        def later(value: Any) -> Any:
            if not run:
                run.append(_struct(name))
            return run[0](value)

        return later
    return _shaper({key: value for key, value in definition.items() if key != "$ref"})


def _array(items: Object) -> Shaper:
    shaper = _shaper(items)
    zero: Any = {} if _is_struct(items) else _zero(items)

    def run(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        for position, item in enumerate(value):
            if item is None:
                item = {} if zero == {} else zero
                value[position] = item
            shaped = shaper(item)
            if shaped is not None and shaped is not item:
                value[position] = shaped
        return value or None

    return run


def _map(values: Object) -> Shaper:
    shaper = _shaper(values)
    zero: Any = {} if _is_struct(values) else _zero(values)

    def run(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for key, item in value.items():
            if item is None:
                value[key] = {} if zero == {} else zero
                continue
            shaped = shaper(item)
            if shaped is not None and shaped is not item:
                value[key] = shaped
        return value or None

    return run


def _same(value: Any) -> Any:
    return value


def _scalar(value: Any) -> Any:
    return value if value else None


def _quantity(value: Any) -> Any:
    try:
        return str(parse_quantity(value if isinstance(value, str) else str(value)))
    except QuantityError:
        return value


def _time(value: Any) -> Any:
    if not isinstance(value, str) or _PLAIN_TIME.fullmatch(value):
        return value or None
    moment = _moment(value)
    return value if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(value: Any) -> Any:
    if not isinstance(value, str) or _MICRO_TIME.fullmatch(value):
        return value or None
    moment = _moment(value)
    return value if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        return None


def _type(schema: Object) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "")
    return kind or ""


def _zero(schema: Object) -> Any:
    reference = schema.get("$ref")
    if reference:
        name = short(reference.rpartition("/")[2])
        if name == "api.resource.Quantity":
            return "0"
        if name == "util.intstr.IntOrString":
            return 0
        if name in _TIMES or name in _OPAQUE:
            return None
        return _ZERO.get(_type(definitions()[name]))
    return _ZERO.get(_type(schema))


def _is_struct(schema: Object) -> bool:
    reference = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref")
    if not reference:
        return False
    name = short(reference.rpartition("/")[2])
    return name not in _OPAQUE and "properties" in definitions()[name]
