"""OpenAPI documents from definitions and from the resources that are served: v3 by group and version, its index, and v2 for all.

Pure: `Served` values in, JSON trees out. A custom resource brings its own schema (`schema`, in OpenAPI v3 form); built-in kinds are
described by the definitions. v2's document is what `kubectl` before 1.30 and Helm validate against.
Known difference: definitions that no path refers to are left out of v2.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from kubepy.api.schema import definitions
from kubepy.api.schema.openapi_path import Served, facts, group_paths, info_paths
from kubepy.api.schema.shape import of_kind, struct
from kubepy.api.types import Object

TITLE = "Kubernetes"
_SECURITY = {"BearerToken": {"description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey"}}
_GVK = "x-kubernetes-group-version-kind"
_MORE = "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_V2, _V3 = "#/definitions/", "#/components/schemas/"
_SHARED = ("DeleteOptions", "WatchEvent")
_SCALAR_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}


def v3_document(group: str, version: str, served: Sequence[Served], release: str) -> Object:
    """The document of `/openapi/v3/apis/GROUP/VERSION`; `release` is `1.36`."""
    paths = group_paths(group, version, served)
    own = {item.definition: item.schema for item in served if item.schema is not None}
    schemas: dict[str, Any] = {}
    for name in _reachable(paths, own, _V3):
        schemas[name] = _embedded(_custom(own[name]), _V3) if own.get(name) is not None else _v3_definition(name, group, version)
    for item in served:
        if item.schema is not None:
            schemas[f"{item.definition}List"] = _custom_list(item)
    return _document(release, paths, schemas)


def v3_info_document(path: str, release: str) -> Object:
    """The documents of paths that are no resources: `version`, `api`, `apis`, `apis/GROUP`, `openid/v1/jwks`, …"""
    paths = info_paths(path)
    return _document(release, paths, {name: _v3_definition(name, "", "v1") for name in _reachable(paths, {}, _V3)})


def v3_index(documents: Mapping[str, bytes]) -> Object:
    """`/openapi/v3`: addresses by document name (`apis/apps/v1`), with a hash of each document's bytes."""
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={document_hash(raw)}"}
                      for name, raw in sorted(documents.items())}}


def document_hash(raw: bytes) -> str:
    return hashlib.sha512(raw).hexdigest().upper()


def v2_document(versions: Mapping[tuple[str, str], Sequence[Served]], release: str) -> Object:
    """`/openapi/v2`: every group and version in one Swagger 2.0 document."""
    paths: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for (group, version), served in versions.items():
        paths.update(group_paths(group, version, served))
        own.update({item.definition: item.schema for item in served if item.schema is not None})
    found: dict[str, Any] = {}
    for name in _reachable(paths, own, _V3):
        found[name] = _v2_kind(_custom(own[name])) if own.get(name) is not None else definitions.definition(name)
    for served in versions.values():
        for item in served:
            if item.schema is not None:
                found[f"{item.definition}List"] = _v2_custom(_custom_list(item))
    return {"swagger": "2.0", "info": {"title": TITLE, "version": release}, "paths": {path: _v2_path(item) for path, item in paths.items()},
            "definitions": dict(sorted(found.items())), "securityDefinitions": {"BearerToken": dict(_SECURITY["BearerToken"])},
            "security": [{"BearerToken": []}]}


def _document(release: str, paths: dict[str, Any], schemas: dict[str, Any]) -> Object:
    components: Object = {"schemas": dict(sorted(schemas.items()))} if schemas else {}
    return {"openapi": "3.0.0", "info": {"title": TITLE, "version": release}, "paths": dict(sorted(paths.items())),
            "components": {**components, "securitySchemes": _SECURITY}}


def _reachable(paths: dict[str, Any], own: Mapping[str, Any], prefix: str) -> list[str]:
    """The definitions that the paths refer to, and those that these refer to. Custom ones refer to ObjectMeta."""
    found: set[str] = set()
    waiting = list(_references(paths, prefix))
    while waiting:
        name = waiting.pop()
        if name in found or (name not in own and not _exists(name)):
            continue
        found.add(name)
        if own.get(name) is not None:
            waiting += [f"{definitions.META}.ObjectMeta", f"{definitions.META}.ListMeta"]
        else:
            waiting += _references(definitions.definition(name), _V2)
    return sorted(found)


def _exists(name: str) -> bool:
    try:
        definitions.definition(name)
    except KeyError:
        return False
    return True


def _references(node: Any, prefix: str) -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(prefix)
            else:
                yield from _references(value, prefix)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item, prefix)


def _v3_definition(name: str, group: str, version: str) -> dict[str, Any]:
    schema = definitions.definition(name)
    if name == definitions.QUANTITY:
        return {"description": schema["description"], "oneOf": [{"type": "string"}, {"type": "number"}]}
    if name == definitions.INT_OR_STRING:
        return {"description": schema["description"], "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
    if name.rpartition(".")[2] in _SHARED and _GVK in schema:
        schema[_GVK] = [gvk for gvk in schema[_GVK] if (gvk["group"], gvk["version"]) in (("", "v1"), (group, version))]
    if "properties" not in schema:
        return schema
    required = frozenset(schema.get("required") or ())
    emitted = struct(name).emitted
    short = struct(name).short
    schema["properties"] = {field: _v3_enum(_v3_field(node, field in required, emitted.get(field)), f"{short}.{field}")
                            for field, node in schema["properties"].items()}
    return schema


def _v3_enum(node: dict[str, Any], field: str) -> dict[str, Any]:
    """Adds what v3 tells of enumerations and v2 does not."""
    fact = facts()["enums"].get(field)
    if fact is None:
        return node
    values = sorted(fact["values"])
    if fact.get("items"):
        return {**node, "items": {**node["items"], "enum": values}}
    if not fact.get("quiet"):
        lines = "\n".join(f' - `"{value}"`' + (f" {fact['values'][value]}" if fact["values"][value] else "") for value in values)
        node["description"] = f"{node.get('description', '')}\n\nPossible enum values:\n{lines}"
    node["enum"] = values
    if "default" in fact:
        node["default"] = fact["default"]
    else:
        node.pop("default", None)
    return node


def _v3_field(node: dict[str, Any], required: bool, emitted: Any) -> dict[str, Any]:
    """A property in v3 form: references are wrapped when something stands beside them, and what Go writes anyway has a default."""
    node = _v3_references(node)
    if "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        if emitted == {}:
            beside["default"] = {}
        return {"allOf": [{"$ref": node["$ref"]}], **beside} if beside else node
    written = required or emitted is not None
    if written and node.get("type") in _SCALAR_ZEROS and "default" not in node and node.get("format") != "byte":
        node["default"] = _SCALAR_ZEROS[node["type"]]
    return node


def _v3_references(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: value.replace(_V2, _V3) if key == "$ref" and isinstance(value, str) else _v3_references(value)
                for key, value in node.items()}
    return [_v3_references(item) for item in node] if isinstance(node, list) else node


def _custom(schema: Any) -> dict[str, Any]:
    return orjson.loads(orjson.dumps(schema)) if schema else {"type": "object"}


def _custom_list(item: Served) -> dict[str, Any]:
    return {
        "description": f"{item.kind}List is a list of {item.kind}", "type": "object", "required": ["items"],
        "properties": {
            **{name: {"description": text, "type": "string"} for name, text in _type_descriptions().items()},
            "items": {"description": f"List of {item.plural}. {_MORE}", "type": "array", "items": {"$ref": f"{_V3}{item.definition}"}},
            "metadata": {"description": f"Standard list metadata. {_MORE}#types-kinds",
                         "allOf": [{"$ref": f"{_V3}{definitions.META}.ListMeta"}]},
        },
        _GVK: [{"group": item.group, "kind": f"{item.kind}List", "version": item.version}],
    }


def custom_schema(item: Served, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """A custom resource's schema with what every object has: apiVersion, kind, metadata and its group, version and kind."""
    result: dict[str, Any] = dict(schema) if schema else {"type": "object"}
    properties = dict(result.get("properties") or {})
    for name, text in _type_descriptions().items():
        properties[name] = {"description": text, "type": "string"}
    properties["metadata"] = {"allOf": [{"$ref": f"{_V3}{definitions.META}.ObjectMeta"}], "description":
                              f"Standard object's metadata. {_MORE}#metadata"}
    result["properties"] = dict(sorted(properties.items()))
    result[_GVK] = [{"group": item.group, "kind": item.kind, "version": item.version}]
    return result


def _type_descriptions() -> dict[str, str]:
    properties = definitions.definition("io.k8s.api.core.v1.ConfigMap")["properties"]
    return {name: properties[name]["description"] for name in ("apiVersion", "kind")}


_V2_DROPPED = frozenset({"oneOf", "anyOf", "allOf", "not", "nullable", "default"})


_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"


def _embedded(node: Any, prefix: str) -> Any:
    """A schema in which embedded resources have a type and metadata; in v2 not those that keep unknown fields, which name none."""
    if isinstance(node, list):
        return [_embedded(item, prefix) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: {name: _embedded(item, prefix) for name, item in value.items()} if key == "properties" else
              _embedded(value, prefix) if key in ("items", "additionalProperties") else value for key, value in node.items()}
    if not node.get(_EMBEDDED) or (prefix == _V2 and node.get(_PRESERVE)):
        return result
    reference = {"$ref": f"{prefix}{definitions.META}.ObjectMeta"}
    result["properties"] = {
        **(result.get("properties") or {}),
        "apiVersion": {"description": f"apiVersion defines the versioned schema of this representation of an object. {_MORE}#resources",
                       "type": "string"},
        "kind": {"description": f"kind is a string value representing the type of this object. In CamelCase. {_MORE}#types-kinds",
                 "type": "string"},
        "metadata": {"description": f"Standard object's metadata. {_MORE}#metadata",
                     **(reference if prefix == _V2 else {"allOf": [reference]})}}
    result["required"] = list(dict.fromkeys((*(result.get("required") or ()), "kind", "apiVersion")))
    return result


def _v2_kind(schema: dict[str, Any]) -> dict[str, Any]:
    """A custom kind in v2. kubectl takes the properties named for all there are: one that keeps unknown fields names none."""
    if schema.get(_PRESERVE):
        return {"type": "object", _GVK: schema[_GVK]}
    found: dict[str, Any] = _embedded(_v2_custom(schema), _V2)
    return found


def _v2_custom(node: Any) -> Any:
    """A v3 schema as v2 can say it: no alternatives, no defaults, nothing inside of what may be null or keeps unknown fields (kubectl
    would refuse other things there), nothing required that may be null, no list of nothing."""
    if isinstance(node, list):
        return [_v2_custom(item) for item in node]
    if not isinstance(node, dict):
        return node
    empty = node.get("nullable") or node.get(_PRESERVE)
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "items") and empty:
            continue
        if key == "type" and (node.get("nullable") or (value == "array" and (empty or "items" not in node))):
            continue
        if key == "required" and (value := _v2_required(node, bool(empty))) == []:
            continue
        if key == "properties" and isinstance(value, dict):
            result[key] = {name: _v2_custom(item) for name, item in value.items()}
        elif key == "$ref":
            result[key] = value.replace(_V3, _V2)
        elif key == "allOf" and len(value) == 1 and "$ref" in value[0]:
            result["$ref"] = value[0]["$ref"].replace(_V3, _V2)
        elif key not in _V2_DROPPED:
            result[key] = _v2_custom(value)
    return result


def _v2_required(node: dict[str, Any], empty: bool) -> list[str]:
    other = node.get("additionalProperties")
    if isinstance(other, dict) and other.get("nullable"):
        return []
    properties = {} if empty else node.get("properties") or {}
    return [name for name in node["required"] if not (isinstance(item := properties.get(name), dict) and item.get("nullable"))]


def _v2_path(item: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for method, operation in item.items():
        if method == "parameters":
            result[method] = [_v2_parameter(parameter) for parameter in operation]
            continue
        body = operation.get("requestBody")
        parameters = [_v2_parameter(parameter) for parameter in operation.get("parameters") or ()]
        consumes = ["*/*"]
        if body is not None:
            media = next(iter(body["content"].values()))
            given = {"in": "body", "name": "body", "schema": _v2_schema(media["schema"])}
            parameters.insert(0, {**given, "required": True} if body.get("required") else given)
            consumes = list(body["content"])
        responses: dict[str, Any] = {}
        produces: list[str] = []
        for code, response in operation["responses"].items():
            content = response.get("content") or {}
            produces = produces or list(content)
            schema = {"schema": _v2_schema(next(iter(content.values()))["schema"])} if content else {}
            responses[code] = {"description": response["description"], **schema}
        kept = {key: value for key, value in operation.items() if key not in ("requestBody", "parameters", "responses")}
        result[method] = {**kept, "consumes": consumes, "produces": produces, "schemes": ["https"], "responses": responses,
                          **({"parameters": parameters} if parameters else {})}
    return result


def _v2_parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in parameter.items() if key != "schema"}
    return {**flat, **parameter["schema"]}


def _v2_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.replace(_V3, _V2) if key == "$ref" else value for key, value in schema.items()}


def definition_of(group: str, version: str, kind: str) -> str:
    """The name of a kind's definition; a custom kind's is made of its reversed group (`com.example.v1.Thing`)."""
    found = of_kind(group, version, kind)
    if found is not None:
        return found.definition
    return ".".join([*reversed(group.split(".")), version, kind])
