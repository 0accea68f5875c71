"""The shape of a definition: its fields, their types, and how patches and apply merge them. Built lazily, one definition at a time."""
from __future__ import annotations

from functools import cache
from typing import Any, Literal

from kubepy.api.schema import definitions, goshape

Kind = Literal["string", "boolean", "int32", "int64", "number", "bytes", "quantity", "int-or-string", "time", "micro-time", "raw",
               "array", "map", "struct", "schema-or-array", "schema-or-bool", "schema-or-strings"]

_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
_SPECIAL: dict[str, Kind] = {
    definitions.QUANTITY: "quantity", definitions.INT_OR_STRING: "int-or-string",
    f"{definitions.META}.Time": "time", f"{definitions.META}.MicroTime": "micro-time", f"{definitions.META}.FieldsV1": "raw",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw", f"{_APIEXTENSIONS}.JSON": "raw",
    f"{_APIEXTENSIONS}.JSONSchemaPropsOrArray": "schema-or-array", f"{_APIEXTENSIONS}.JSONSchemaPropsOrBool": "schema-or-bool",
    f"{_APIEXTENSIONS}.JSONSchemaPropsOrStringArray": "schema-or-strings",
}
_GO_NAMES = {"string": "string", "boolean": "bool", "int32": "int32", "int64": "int64", "number": "float64", "bytes": "[]uint8",
             "quantity": "resource.Quantity", "int-or-string": "intstr.IntOrString", "time": "v1.Time", "micro-time": "v1.MicroTime",
             "raw": "runtime.RawExtension", "schema-or-array": "v1.JSONSchemaPropsOrArray", "schema-or-bool": "v1.JSONSchemaPropsOrBool",
             "schema-or-strings": "v1.JSONSchemaPropsOrStringArray"}
SCHEMA_PROPS = f"{_APIEXTENSIONS}.JSONSchemaProps"


class Type:
    """A field's type. `item` is the element of arrays and maps, `struct` the shape behind a reference."""

    __slots__ = ("definition", "item", "kind")

    def __init__(self, kind: Kind, item: Type | None = None, definition: str = "") -> None:
        self.kind = kind
        self.item = item
        self.definition = definition

    @property
    def struct(self) -> Struct:
        return struct(self.definition)

    @property
    def go(self) -> str:
        """The Go type, as decoding errors name it."""
        if self.kind == "struct":
            return ".".join(self.definition.split(".")[-2:])
        if self.kind == "array":
            assert self.item is not None
            return f"[]{self.item.go}"
        if self.kind == "map":
            assert self.item is not None
            return f"map[string]{self.item.go}"
        return _GO_NAMES[self.kind]


class Field:
    """A field of a struct. `keeps_zero`: an empty value of it is kept (a pointer in Go, or a field without omitempty). `keeps_empty`: an
    empty list is not the same as none.

    The merge rules are OpenAPI's: `strategies` (merge, replace, retainKeys) and `merge_key` for strategic merge patch, `list_type`,
    `list_keys` and `map_type` for server-side apply."""

    __slots__ = ("go", "keeps_empty", "keeps_zero", "list_keys", "list_type", "map_type", "merge_key", "name", "required", "strategies",
                 "type")

    def __init__(self, name: str, type: Type, *, required: bool, keeps_zero: bool, go: str, schema: dict[str, Any],
                 keeps_empty: bool = False) -> None:
        self.name = name
        self.type = type
        self.required = required
        self.keeps_zero = keeps_zero
        self.keeps_empty = keeps_empty
        self.go = go
        strategy = schema.get("x-kubernetes-patch-strategy")
        self.strategies: tuple[str, ...] = tuple(strategy.split(",")) if strategy else ()
        self.merge_key: str = schema.get("x-kubernetes-patch-merge-key", "")
        self.list_type: str = schema.get("x-kubernetes-list-type", "")
        self.list_keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = schema.get("x-kubernetes-map-type", "")


class Struct:
    """An object type. `emitted` are the fields that are written although they are absent, with what they show."""

    __slots__ = ("definition", "emitted", "fields", "go", "map_type", "short")

    def __init__(self, definition: str) -> None:
        schema = definitions.definition(definition)
        self.definition = definition
        self.short = goshape.short_name(definition)
        self.go = definition.rpartition(".")[2]
        self.map_type: str = schema.get("x-kubernetes-map-type", "")
        required = frozenset(schema.get("required") or ())
        properties: dict[str, Any] = schema.get("properties") or {}
        emitted = dict(goshape.EMITTED.get(self.short) or {})
        is_kind = "x-kubernetes-group-version-kind" in schema and "apiVersion" in properties
        self.fields: dict[str, Field] = {}
        for name, node in properties.items():
            type_ = _type(node)
            full = f"{self.short}.{name}"
            must = name in required and full not in goshape.NOT_EMITTED
            if must and name not in emitted and (zero := _zero(type_)) is not None:
                emitted[name] = zero
            keeps = must or name in emitted or _keeps_zero(self.short, name, type_)
            self.fields[name] = Field(name, type_, required=name in required, keeps_zero=keeps, go=goshape.ALIASES.get(full, type_.go),
                                      schema=node, keeps_empty=_keeps_empty(full, type_, emitted.get(name, "")))
        if is_kind:
            if self.go.endswith("List") and "items" in properties:
                emitted["metadata"] = {}
            else:
                emitted.update({name: {} for name in goshape.KIND_FIELDS
                                if properties.get(name, {}).get("$ref") and f"{self.short}.{name}" not in goshape.NOT_EMITTED})
        self.emitted = emitted

    def __repr__(self) -> str:
        return f"Struct({self.definition})"


@cache
def struct(definition: str) -> Struct:
    """The shape of a definition by its full name; raises KeyError."""
    return Struct(definition)


def of_kind(group: str, version: str, kind: str) -> Struct | None:
    """The shape of a built-in kind, or None."""
    name = definitions.kinds().get((group, version, kind))
    return struct(name) if name else None


def of_api_version(api_version: str, kind: str) -> Struct | None:
    group, _, version = api_version.rpartition("/")
    return of_kind(group, version, kind)


def _type(node: dict[str, Any]) -> Type:
    reference = node.get("$ref")
    if reference is None and len(node.get("allOf") or ()) == 1:
        reference = node["allOf"][0].get("$ref")
    if reference:
        name = reference.rpartition("/")[2]
        if (special := _SPECIAL.get(name)) is not None:
            return Type(special)
        return _named(name)
    kind = node.get("type")
    if kind == "array":
        return Type("array", _type(node.get("items") or {}))
    if kind == "object":
        values = node.get("additionalProperties")
        return Type("map", _type(values)) if isinstance(values, dict) else Type("raw")
    if kind == "string":
        return Type("bytes" if node.get("format") == "byte" else "string")
    if kind == "integer":
        return Type("int64" if node.get("format") == "int64" else "int32")
    if kind == "boolean":
        return Type("boolean")
    return Type("number") if kind == "number" else Type("raw")


@cache
def _named(name: str) -> Type:
    schema = definitions.definition(name)
    if "properties" in schema or schema.get("type") == "object":
        return Type("struct", definition=name)
    return _type(schema)


def _zero(type_: Type) -> Any:
    """What a required field shows when it was not given; None for those that are not added."""
    return {"string": "", "boolean": False, "int32": 0, "int64": 0, "number": 0, "quantity": "0"}.get(type_.kind)


def _keeps_empty(full: str, type_: Type, emitted: Any) -> bool:
    """Lists that show null when there are none show [] when they were given empty."""
    return type_.kind == "array" and (emitted is None or full in goshape.KEEPS_EMPTY)


def _keeps_zero(short: str, name: str, type_: Type) -> bool:
    if type_.kind in ("string", "boolean", "int32", "int64", "number"):
        return goshape.keeps_zero(short, name, type_.kind)
    return type_.kind not in ("array", "map", "bytes")
