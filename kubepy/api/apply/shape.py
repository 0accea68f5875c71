"""How values of a type are merged: which maps and lists are atomic, which are keyed, and what kind of scalar a leaf is.

Shapes are read from OpenAPI schemas (built-in definitions or those of custom resources) and their `x-kubernetes-*` marks, lazily,
so that only types in use cost anything and recursive types are no problem.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Structure = Literal["scalar", "atomic", "map", "list", "set", "keyed", "deduced"]
"""`list` is an atomic list and `atomic` an atomic map; `deduced` takes the form of each value (maps merge, lists are atomic)."""

Scalar = Literal["string", "numeric", "boolean", "untyped", "opaque"]

_KEY_DEFAULTS = {"protocol": "TCP"}
"""Defaults of list keys, which the published definitions leave out: ports are keyed by number and protocol."""

_MAP_TYPES: dict[str, Structure] = {"atomic": "atomic", "granular": "map"}

_ZEROS: dict[Any, Any] = {"string": "", "integer": 0, "boolean": False}

_OPAQUE = "io.k8s.apimachinery.pkg.runtime.RawExtension"
"""Any JSON, owned and compared as a whole."""

_UNTYPED = ("io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString")


class Shape:
    """One type. `fields` are a struct's named fields, `element` the type of other keys or of items."""

    __slots__ = ("_element", "_fields", "_schema", "_shapes", "key_defaults", "keys", "scalar", "structure")

    def __init__(self, structure: Structure, *, scalar: Scalar = "untyped", keys: tuple[str, ...] = (),
                 schema: Mapping[str, Any] | None = None, shapes: Shapes | None = None) -> None:
        self.structure = structure
        self.scalar = scalar
        self.keys = keys
        self.key_defaults = {key: _KEY_DEFAULTS[key] for key in keys if key in _KEY_DEFAULTS}
        self._schema = schema or {}
        self._shapes = shapes
        self._fields: dict[str, Shape] | None = None
        self._element: Shape | None = None

    @property
    def fields(self) -> dict[str, Shape]:
        if self._fields is None:
            shapes = self._shapes
            properties = self._schema.get("properties") or {}
            self._fields = {name: shapes.of(schema) for name, schema in properties.items()} if shapes else {}
        return self._fields

    @property
    def element(self) -> Shape | None:
        """None where only the named fields are allowed."""
        if self._element is None:
            self._element = self._find_element()
        return self._element

    def _find_element(self) -> Shape | None:
        if self.structure == "deduced":
            return DEDUCED
        schema, shapes = self._schema, self._shapes
        if shapes is None:
            return None
        if "items" in schema:
            return shapes.of(schema["items"])
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            return shapes.of(extra)
        if extra is True or schema.get("x-kubernetes-preserve-unknown-fields") or not schema.get("properties"):
            return DEDUCED
        return None

    def field(self, name: str) -> Shape | None:
        """The shape of a key of a map; None for a key the type does not have."""
        return self.fields.get(name) or self.element

    def resolve(self, value: Any) -> Structure:
        """The structure `value` has under this shape."""
        if self.structure != "deduced":
            return self.structure
        return "map" if isinstance(value, dict) else "list" if isinstance(value, list) else "scalar"


DEDUCED = Shape("deduced")
OPAQUE = Shape("scalar", scalar="opaque")


class Shapes:
    """Reads shapes from schemas that refer to `definitions` by `#/…/NAME`."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions = definitions
        self._named: dict[tuple[str, Structure | None, tuple[str, ...]], Shape] = {}

    def named(self, name: str) -> Shape:
        """The shape of a definition; raises KeyError for an unknown one."""
        return self._named_as(name, None, ())

    def of(self, schema: Mapping[str, Any]) -> Shape:
        """The shape of a schema. Marks beside a reference overrule those of the type it refers to."""
        reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf") or () if "$ref" in part), None)
        if reference:
            override = _MAP_TYPES.get(schema.get("x-kubernetes-map-type", ""))
            return self._named_as(reference.rpartition("/")[2], override, ())
        return self._build(schema)

    def _named_as(self, name: str, override: Structure | None, keys: tuple[str, ...]) -> Shape:
        shape = self._named.get((name, override, keys))
        if shape is None:
            if override == "atomic":
                shape = Shape(override)
            elif override:
                shape = Shape(override, schema=self._definitions[name], shapes=self)
            else:
                shape = Shape("scalar") if name in _UNTYPED else OPAQUE if name == _OPAQUE else self._build(self._definitions[name])
            self._named[(name, override, keys)] = shape
        return shape

    def _build(self, schema: Mapping[str, Any]) -> Shape:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((item for item in kind if item != "null"), None)
        if kind == "array":
            structure, keys = _list_structure(schema)
            shape = Shape(structure, keys=keys, schema=schema, shapes=self)
            shape.key_defaults = {**self._required_keys(schema, keys), **shape.key_defaults}
            return shape
        if kind == "object" or "properties" in schema or "additionalProperties" in schema:
            if schema.get("x-kubernetes-map-type") == "atomic":
                return Shape("atomic")
            return Shape("map", schema=schema, shapes=self)
        if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string" or schema.get("oneOf"):
            return Shape("scalar")
        if kind in ("integer", "number"):
            return Shape("scalar", scalar="numeric")
        if kind == "string":
            return Shape("scalar", scalar="string")
        if kind == "boolean":
            return Shape("scalar", scalar="boolean")
        return DEDUCED

    def _required_keys(self, schema: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        """Keys that Go always writes count as empty when they are left out: their published schema has a default."""
        items = schema.get("items") or {}
        item = self._definitions.get(str(items.get("$ref", "")).rpartition("/")[2]) or items
        properties, required = item.get("properties") or {}, item.get("required") or () if item is not items else ()
        found = {}
        for key in keys:
            node = properties.get(key) or {}
            kind = node.get("type")
            kind = kind[0] if isinstance(kind, list) else kind
            if "default" in node:
                found[key] = node["default"]
            elif key in required and kind in _ZEROS:
                found[key] = _ZEROS[kind]
        return found


def _list_structure(schema: Mapping[str, Any]) -> tuple[Structure, tuple[str, ...]]:
    """The merge of a list; older types say it only through the marks of strategic merge patch."""
    mark = schema.get("x-kubernetes-list-type")
    if mark == "map":
        return "keyed", tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ()))
    if mark == "set":
        return "set", ()
    if mark is None and "merge" in (schema.get("x-kubernetes-patch-strategy") or "").split(","):
        key = schema.get("x-kubernetes-patch-merge-key")
        return ("keyed", (key,)) if key else ("set", ())
    return "list", ()
