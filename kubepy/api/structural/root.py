"""What the root of a schema may say where `status` is a subresource, whose own schema is cut out of it (`validation.go`,
allowedFieldsAtRootSchema)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubepy.api.field import Errors, Path, Struct, invalid

_ALLOWED = ("Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength",
            "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties", "ExternalDocs",
            "Example", "XPreserveUnknownFields", "XValidations")
_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("ID", "id", ""), ("Schema", "$schema", ""), ("Ref", "$ref", None), ("Description", "description", ""), ("Type", "type", ""),
    ("Nullable", "nullable", False), ("Format", "format", ""), ("Title", "title", ""), ("Default", "default", None),
    ("Maximum", "maximum", None), ("ExclusiveMaximum", "exclusiveMaximum", False), ("Minimum", "minimum", None),
    ("ExclusiveMinimum", "exclusiveMinimum", False), ("MaxLength", "maxLength", None), ("MinLength", "minLength", None),
    ("Pattern", "pattern", ""), ("MaxItems", "maxItems", None), ("MinItems", "minItems", None), ("UniqueItems", "uniqueItems", False),
    ("MultipleOf", "multipleOf", None), ("Enum", "enum", None), ("MaxProperties", "maxProperties", None),
    ("MinProperties", "minProperties", None), ("Required", "required", None), ("Items", "items", None), ("AllOf", "allOf", None),
    ("OneOf", "oneOf", None), ("AnyOf", "anyOf", None), ("Not", "not", None), ("Properties", "properties", None),
    ("AdditionalProperties", "additionalProperties", None), ("PatternProperties", "patternProperties", None),
    ("Dependencies", "dependencies", None), ("AdditionalItems", "additionalItems", None), ("Definitions", "definitions", None),
    ("ExternalDocs", "externalDocs", None), ("Example", "example", None),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", None),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", False), ("XIntOrString", "x-kubernetes-int-or-string", False),
    ("XListMapKeys", "x-kubernetes-list-map-keys", None), ("XListType", "x-kubernetes-list-type", None),
    ("XMapType", "x-kubernetes-map-type", None), ("XValidations", "x-kubernetes-validations", None))
_RULE = (("Rule", "rule", ""), ("Message", "message", ""), ("MessageExpression", "messageExpression", ""), ("Reason", "reason", None),
         ("FieldPath", "fieldPath", ""), ("OptionalOldSelf", "optionalOldSelf", None))


def validate_root(schema: Mapping[str, Any], path: Path) -> Errors:
    """The first field that may not be there."""
    for name, wire, zero in _FIELDS:
        value = schema.get(wire, zero)
        if value == zero or value in ([], {}):
            continue
        if name == "Type" and value != "object":
            text = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            return [invalid(path.child("type"), value, text)]
        if name not in _ALLOWED:
            return [invalid(path, _go(schema), f"only [{' '.join(_ALLOWED)}] fields are allowed at the root of the schema if the status "
                                               "subresource is enabled")]
    return []


def _go(schema: Mapping[str, Any]) -> Any:
    """A schema as Go prints it."""
    return Struct({name: _value(name, schema.get(wire, zero)) for name, wire, zero in _FIELDS})


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in ("AllOf", "OneOf", "AnyOf"):
        return [_go(item) for item in value]
    if name == "Not":
        return _go(value)
    if name in ("Properties", "PatternProperties", "Definitions"):
        return {key: _go(item) for key, item in sorted(value.items())}
    if name == "Items":
        schemas = value if isinstance(value, list) else None
        return Struct({"Schema": None if schemas else _go(value), "JSONSchemas": [_go(item) for item in schemas] if schemas else None})
    if name in ("AdditionalProperties", "AdditionalItems"):
        whole = isinstance(value, Mapping)
        return Struct({"Allows": whole or bool(value), "Schema": _go(value) if whole else None})
    if name == "XValidations":
        return [Struct({field: item.get(wire, zero) for field, wire, zero in _RULE}) for item in value]
    return value
