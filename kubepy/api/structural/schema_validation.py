"""What a definition's schema itself must be: OpenAPI v3 without what is not supported, and structural.

Source: `pkg/apis/apiextensions/validation` (ValidateCustomResourceDefinitionOpenAPISchema) and `pkg/apiserver/schema/validation.go`.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubepy.api.field import Errors, Path, forbidden, invalid, not_supported, required
from kubepy.api.structural.pattern import BadPattern, compile_pattern

Schema = Mapping[str, Any]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("definitions", "dependencies", "patternProperties", "id", "$ref", "additionalItems")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def validate_schema(schema: Schema, path: Path) -> tuple[Errors, bool]:
    """Errors of `openAPIV3Schema`, and whether the schema can be read as a structural one at all."""
    errors: Errors = []
    if schema.get("nullable"):
        errors.append(forbidden(path.child("nullable"), "nullable cannot be true at the root"))
    _openapi(schema, path, errors)
    readable = not _unreadable(schema)
    if readable:
        structural: Errors = []
        _invariants(schema, path, "root", structural)
        if not structural:
            _complete(schema, path, structural)
        errors += sorted(structural, key=str)
    return errors, readable


def _openapi(schema: Schema, path: Path, errors: Errors) -> None:
    for field in _UNSUPPORTED:
        if schema.get(field) not in (None, "", {}):
            errors.append(forbidden(path.child(field), f"{field} is not supported"))
    kind = schema.get("type") or ""
    if kind == "null":
        errors.append(forbidden(path.child("type"), "type cannot be set to null, use nullable as an alternative"))
    if kind and kind not in _TYPES:
        errors.append(not_supported(path.child("type"), kind, _TYPES))
    if schema.get("uniqueItems"):
        errors.append(forbidden(path.child("uniqueItems"),
                                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"))
    if pattern := schema.get("pattern"):
        try:
            compile_pattern(pattern)
        except BadPattern as error:
            errors.append(invalid(path.child("pattern"), pattern, f"must be a valid regular expression, but isn't: {error}"))
    extra = schema.get("additionalProperties")
    if schema.get("properties") and (isinstance(extra, Mapping) or extra is False):
        errors.append(forbidden(path.child("additionalProperties"), "additionalProperties and properties are mutual exclusive"))
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        errors.append(invalid(path.child("x-kubernetes-preserve-unknown-fields"), False, "must be true or undefined"))
    _merge_types(schema, path, errors)
    for child, where in children(schema, path):
        _openapi(child, where, errors)
    if isinstance(schema.get("items"), list):
        errors.append(forbidden(path.child("items"), "items must be a schema object and not an array"))
    for field in ("allOf", "oneOf", "anyOf"):
        for position, item in enumerate(schema.get(field) or ()):
            _openapi(item, path.child(field).index(position), errors)
    if isinstance(schema.get("not"), Mapping):
        _openapi(schema["not"], path.child("not"), errors)


def children(schema: Schema, path: Path) -> list[tuple[Schema, Path]]:
    """The schemas of properties, other keys and items, with their paths."""
    found: list[tuple[Schema, Path]] = []
    for name, node in (schema.get("properties") or {}).items():
        found.append((node, path.child("properties").key(name)))
    for field in ("additionalProperties", "items"):
        if isinstance(schema.get(field), Mapping):
            found.append((schema[field], path.child(field)))
    return found


def _merge_types(schema: Schema, path: Path, errors: Errors) -> None:
    kind = schema.get("type") or ""
    for mark, wanted, values in (("x-kubernetes-map-type", "object", ("atomic", "granular")),
                                 ("x-kubernetes-list-type", "array", ("atomic", "set", "map"))):
        value = schema.get(mark)
        if value is None:
            continue
        if kind != wanted:
            text = f"must be {wanted} if {mark} is specified"
            errors.append(invalid(path.child("type"), kind, text) if kind else required(path.child("type"), text))
        if value not in values:
            errors.append(not_supported(path.child(mark), value, values))
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    items = schema.get("items") if isinstance(schema.get("items"), Mapping) else None
    if keys and list_type != "map":
        text, where = "must be map if x-kubernetes-list-map-keys is non-empty", path.child("x-kubernetes-list-type")
        errors.append(required(where, text) if list_type is None else invalid(where, list_type, text))
    if list_type == "map":
        _map_list(schema, keys, items, path, errors)
    if list_type == "set" and items is not None:
        where = path.child("items")
        if items.get("nullable"):
            errors.append(forbidden(where.child("nullable"), "cannot be nullable when x-kubernetes-list-type is set"))
        for item_kind, mark, value in (("object", "x-kubernetes-map-type", items.get("x-kubernetes-map-type")),
                                       ("array", "x-kubernetes-list-type", items.get("x-kubernetes-list-type"))):
            if items.get("type") == item_kind and value != "atomic" and not (item_kind == "array" and value is None):
                errors.append(invalid(where.child(mark), value, "must be atomic as item of a list with x-kubernetes-list-type=set"))


def _map_list(schema: Schema, keys: list[str], items: Schema | None, path: Path, errors: Errors) -> None:
    where = path.child("x-kubernetes-list-map-keys")
    if not keys:
        errors.append(required(where, "must not be empty if x-kubernetes-list-type is map"))
    if schema.get("items") is None:
        errors.append(required(path.child("items"), "must have a schema if x-kubernetes-list-type is map"))
    if items is None:
        return
    if items.get("type") != "object":
        errors.append(invalid(path.child("items").child("type"), items.get("type") or "",
                              "must be object if parent array's x-kubernetes-list-type is map"))
        return
    if items.get("nullable"):
        errors.append(forbidden(path.child("items").child("nullable"), "cannot be nullable when x-kubernetes-list-type is map"))
    properties: Mapping[str, Any] = items.get("properties") or {}
    for key in keys:
        if key not in properties:
            errors.append(invalid(where, keys, "entries must all be names of item properties"))
            continue
        node, here = properties[key], path.child("items").child("properties").key(key)
        if node.get("type") in ("array", "object"):
            errors.append(invalid(here.child("type"), node["type"],
                                  "must be a scalar type if parent array's x-kubernetes-list-type is map"))
        if node.get("default") is None and key not in (items.get("required") or ()):
            errors.append(required(here.child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
                                                          "a required property"))
        elif node.get("nullable"):
            errors.append(forbidden(here.child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"))
    if len(set(keys)) != len(keys):
        errors.append(invalid(where, keys, "must not contain duplicate entries"))


def _unreadable(schema: Schema) -> bool:
    """Whether the schema has what a structural schema cannot even be made of."""
    if any(schema.get(field) not in (None, "", {}) for field in _UNSUPPORTED) or schema.get("$schema"):
        return True
    if isinstance(schema.get("items"), list):
        return True
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        return True
    return any(_unreadable(child) for child, _ in children(schema, Path()))


def _invariants(schema: Schema, path: Path, level: str, errors: Errors) -> None:
    kind = schema.get("type") or ""
    if kind == "array" and schema.get("items") is None:
        errors.append(required(path.child("items"), "must be specified"))
    embedded = schema.get("x-kubernetes-embedded-resource")
    extra = schema.get("additionalProperties")
    if embedded and kind != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        errors.append(invalid(path.child("type"), kind, text) if kind else required(path.child("type"), text))
    if not kind and not schema.get("x-kubernetes-int-or-string") and not schema.get("x-kubernetes-preserve-unknown-fields"):
        text = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}[level]
        errors.append(required(path.child("type"), f"must not be empty {text}"))
    if level == "root" and extra is not None:
        errors.append(forbidden(path.child("additionalProperties"), "must not be used at the root"))
    if embedded and extra is not None:
        errors.append(forbidden(path.child("additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set"))
    if embedded and not schema.get("properties") and not schema.get("x-kubernetes-preserve-unknown-fields"):
        errors.append(required(path.child("properties"), "must not be empty if x-kubernetes-embedded-resource is true without "
                                                         "x-kubernetes-preserve-unknown-fields"))
    if level == "root" and kind and kind != "object":
        errors.append(invalid(path.child("type"), kind, "must be object at the root"))
    if level == "root" or embedded:
        _resource_fields(schema, path, errors)
    for name, node in (schema.get("properties") or {}).items():
        _invariants(node, path.child("properties").key(name), "field", errors)
    if isinstance(extra, Mapping):
        _invariants(extra, path.child("additionalProperties"), "field", errors)
    if isinstance(schema.get("items"), Mapping):
        _invariants(schema["items"], path.child("items"), "item", errors)
    for value, where, free in _value_validations(schema, path):
        _value_validation(value, where, free, errors)


def _resource_fields(schema: Schema, path: Path, errors: Errors) -> None:
    """What may be said of the fields every resource has."""
    properties = schema.get("properties") or {}
    here = path.child("properties")
    for name in ("kind", "apiVersion"):
        if name in properties and properties[name].get("type") != "string":
            errors.append(invalid(here.key(name).child("type"), properties[name].get("type") or "", "must be string"))
    metadata = properties.get("metadata")
    if metadata is None:
        return
    if metadata.get("type") != "object":
        errors.append(invalid(here.key("metadata").child("type"), metadata.get("type") or "", "must be object"))
    known = {"type", "description", "title", "properties", "x-kubernetes-validations", "required"}
    if set(metadata.get("properties") or ()) - {"name", "generateName"} or set(metadata) - known:
        errors.append(forbidden(here.key("metadata"), "must not specify anything other than name and generateName, but metadata is "
                                                      "implicitly specified"))


def _value_validations(schema: Schema, path: Path) -> list[tuple[Schema, Path, bool]]:
    """allOf, anyOf, oneOf and not, with their paths; the flag frees the two types that int-or-string may name."""
    found: list[tuple[Schema, Path, bool]] = []
    free = bool(schema.get("x-kubernetes-int-or-string"))
    for field in ("anyOf", "allOf", "oneOf"):
        for position, item in enumerate(schema.get(field) or ()):
            where = path.child(field).index(position)
            if field == "anyOf" and free and list(schema["anyOf"]) == _INT_OR_STRING:
                continue
            if field == "allOf" and free and not position and list(item.get("anyOf") or ()) == _INT_OR_STRING:
                found.append(({key: value for key, value in item.items() if key != "anyOf"}, where, False))
                continue
            found.append((item, where, False))
    if isinstance(schema.get("not"), Mapping):
        found.append((schema["not"], path.child("not"), False))
    return found


_EMPTY = {"type": "must be empty to be structural", "title": "must be empty to be structural",
          "description": "must be empty to be structural", "default": "must be undefined to be structural",
          "nullable": "must be false to be structural", "additionalProperties": "must be undefined to be structural",
          "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
          "x-kubernetes-embedded-resource": "must be false to be structural",
          "x-kubernetes-int-or-string": "must be false to be structural",
          "x-kubernetes-list-type": "must be undefined to be structural", "x-kubernetes-list-map-keys": "must be empty to be structural",
          "x-kubernetes-map-type": "must be undefined to be structural",
          "x-kubernetes-validations": "must be empty to be structural"}


def _value_validation(schema: Schema, path: Path, free: bool, errors: Errors) -> None:
    for field, text in _EMPTY.items():
        if schema.get(field) not in (None, "", False, []):
            errors.append(forbidden(path.child(field), text))
    for name, node in (schema.get("properties") or {}).items():
        if name == "metadata" and not path.text.rpartition("openAPIV3Schema")[2].count("."):
            errors.append(forbidden(path.child("properties").key(name), "must not be specified in a nested context"))
        _value_validation(node, path.child("properties").key(name), False, errors)
    if isinstance(schema.get("items"), Mapping):
        _value_validation(schema["items"], path.child("items"), False, errors)
    for value, where, _ in _value_validations(schema, path):
        _value_validation(value, where, False, errors)


def _complete(schema: Schema, path: Path, errors: Errors) -> None:
    """Fields that alternatives speak of are specified outside of them."""
    for value, where, _ in _value_validations(schema, path):
        _specified(value, schema, path, where, errors)
    for child, where in children(schema, path):
        _complete(child, where, errors)


def _specified(value: Schema, schema: Schema, path: Path, where: Path, errors: Errors) -> None:
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, node in (value.get("properties") or {}).items():
        here = path.child("properties").key(name)
        known = properties.get(name)
        if known is None and isinstance(extra, Mapping):
            known, here = extra, path.child("additionalProperties")
        if known is None:
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                errors.append(required(here, f"because it is defined in {where.child('properties').key(name)}"))
            continue
        _specified(node, known, here, where.child("properties").key(name), errors)
    if isinstance(value.get("items"), Mapping):
        if isinstance(schema.get("items"), Mapping):
            _specified(value["items"], schema["items"], path.child("items"), where.child("items"), errors)
        else:
            errors.append(required(path.child("items"), f"because it is defined in {where.child('items')}"))
    for nested, below, _ in _value_validations(value, where):
        _specified(nested, schema, path, below, errors)
