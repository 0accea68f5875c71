"""Kubernetes' OpenAPI definitions, read from the installed package `kubernetes-validate` (only its data file; nothing is imported).

The package stores the definitions of v1.36 rewritten as JSON Schema. The rewriting is undone here, one definition at a time and only
when it is asked for; the file itself is kept as bytes (1.6 MB), so that a process that needs thirty kinds pays for those.
"""
from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import orjson

VERSION = "v1.36.0"
_PACKAGE = "kubernetes_validate"
_FILE = f"kubernetes-json-schema/{VERSION}-local/_definitions.json"
_GVK = "x-kubernetes-group-version-kind"

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"


class _Head(msgspec.Struct, rename={"gvks": _GVK}):
    gvks: list[dict[str, str]] = []


class _Heads(msgspec.Struct, rename={"definitions": "$defs"}):
    definitions: dict[str, _Head]


class _Raws(msgspec.Struct, rename={"definitions": "$defs"}):
    definitions: dict[str, msgspec.Raw]


def _path() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the package {_PACKAGE} is not installed; kubepy reads the Kubernetes schema from it")
    return Path(spec.submodule_search_locations[0]) / _FILE


@cache
def _raws() -> Mapping[str, msgspec.Raw]:
    return msgspec.json.decode(_path().read_bytes(), type=_Raws).definitions


@cache
def kinds() -> Mapping[tuple[str, str, str], str]:
    """The definition of each group, version and kind."""
    found: dict[tuple[str, str, str], str] = {}
    heads = msgspec.json.decode(_path().read_bytes(), type=_Heads).definitions
    for name, head in heads.items():
        for gvk in head.gvks:
            found.setdefault((gvk["group"], gvk["version"], gvk["kind"]), name)
    return found


@cache
def _quantity_text() -> str:
    return str(orjson.loads(Path(__file__).with_name("openapi_facts.json").read_bytes())["quantity"])


def names() -> list[str]:
    """All definitions, sorted."""
    return sorted(_raws())


def definition(name: str) -> dict[str, Any]:
    """A definition as upstream's swagger has it; a fresh tree that belongs to the caller. Raises KeyError."""
    if name == QUANTITY:
        return {"description": _quantity_text(), "type": "string"}
    if name == INT_OR_STRING:
        return {"description": "IntOrString is a type that can hold an int32 or a string.  When used in JSON or YAML marshalling and "
                               "unmarshalling, it produces or consumes the inner type.  This allows you to have, for example, a JSON field "
                               "that can accept a name or number.", "format": "int-or-string", "type": "string"}
    raw: dict[str, Any] = orjson.loads(memoryview(_raws()[name]))
    if _GVK in raw:
        for field in ("apiVersion", "kind"):
            if field in (properties := raw.get("properties") or {}):
                properties[field].pop("enum", None)
    restored: dict[str, Any] = _restore(raw)
    return restored


class Definitions(Mapping[str, dict[str, Any]]):
    """All definitions by name, each read when it is looked up."""

    def __getitem__(self, name: str) -> dict[str, Any]:
        return definition(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_raws())

    def __len__(self) -> int:
        return len(_raws())


def _restore(node: Any) -> Any:
    if isinstance(node, list):
        return [_restore(item) for item in node]
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref" and isinstance(value, str):
            value = value.replace("#/$defs/", "#/definitions/")
        elif key == "type" and isinstance(value, list):
            value = value[0]
        elif key == "properties":
            value = {name: _restore(item) for name, item in value.items()}
        else:
            value = _restore(value)
        result[key] = value
    return result
