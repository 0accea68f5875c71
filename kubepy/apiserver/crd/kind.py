"""A served version of a definition as a `Kind`. Cheap to make: schemas are compiled when the first request needs them."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kubepy.api.resource import Resource
from kubepy.api.structural import Node, parse
from kubepy.api.structural.rule import Rules
from kubepy.api.structural.validate import Check
from kubepy.api.types import Object
from kubepy.apiserver.crd.column import columns_of
from kubepy.apiserver.crd.selectable import selectable_of
from kubepy.apiserver.crd.strategy import CustomStrategy
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind

if TYPE_CHECKING:
    from kubepy.api.apply import FieldManager
    from kubepy.apiserver.storage.interface import ResourceStore

TERMINATING_VERBS = ("delete", "deletecollection", "get", "list", "watch")
"""What discovery tells of a definition on its way out; patches and updates still work, for finalizers' sake."""
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


class Compiled:
    """What is made of a version's schema, each part when it is first needed."""

    def __init__(self, schema: Object) -> None:
        self.schema = schema
        self.managers: dict[tuple[str, bool], FieldManager] = {}

    @cached_property
    def node(self) -> Node:
        return parse(self.schema)

    @cached_property
    def rules(self) -> Rules | None:
        """The CEL rules, None where there are none."""
        return Rules(self.node) if self.node.ruled else None

    @cached_property
    def check(self) -> Check:
        return Check(self.schema)


@dataclass(frozen=True, slots=True)
class CustomKind(Kind):
    """`schema` is the published one, None where nothing but metadata is published."""

    custom: bool = True
    schema: Object | None = None
    terminating: bool = False
    """Its definition is being deleted: nothing new is accepted."""
    warning: str = ""
    """What every request for a deprecated version is told."""
    compiled: Compiled | None = None
    scale_paths: Mapping[str, str] | None = None
    view: ResourceStore | None = None
    """The version's view of the store; verbs use it in place of the store."""


def custom_of(kind: Kind) -> CustomKind | None:
    return kind if isinstance(kind, CustomKind) else None


def stored_resource(crd: Object) -> Resource:
    """The resource that all versions are stored as."""
    return resource_of(crd, storage_version(crd))


def storage_version(crd: Object) -> str:
    return next((str(version["name"]) for version in crd["spec"]["versions"] if version.get("storage")), "")


def resource_of(crd: Object, version: str) -> Resource:
    spec, names = crd["spec"], crd["status"]["acceptedNames"]
    return Resource(spec["group"], version, names["plural"], names["kind"], spec["scope"] == "Namespaced")


_META: Object = {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                 "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}}


def custom_shape(schema: Object) -> Object:
    """The schema as server-side apply reads it: with the type and metadata that every object has, embedded ones too."""
    return {**_embedding(schema), "type": "object", "properties": {**(_embedding(schema).get("properties") or {}), **_META}}


def _embedding(schema: Object) -> Object:
    found = dict(schema)
    if properties := schema.get("properties"):
        found["properties"] = {name: _embedding(node) for name, node in properties.items()}
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), dict):
            found[field] = _embedding(schema[field])
    if schema.get("x-kubernetes-embedded-resource"):
        found["properties"] = {**(found.get("properties") or {}), **_META}
    return found


def schema_of(version: Mapping[str, Any]) -> Object:
    schema: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
    return schema


def make_kind(crd: Object, version: Object, compiled: Compiled, terminating: bool,
              view: Callable[[Kind], ResourceStore] | None = None) -> CustomKind:
    """The kind of a version; `view` opens what it is read through."""
    names, resource = crd["status"]["acceptedNames"], resource_of(crd, version["name"])
    subresources = version.get("subresources") or {}
    has_status, scale = subresources.get("status") is not None, subresources.get("scale")
    schema = schema_of(version)
    kind = CustomKind(
        resource, names.get("singular") or "", CustomStrategy(resource, compiled, has_status=has_status, scale=scale),
        columns=columns_of(version.get("additionalPrinterColumns") or ()),
        short_names=tuple(names.get("shortNames") or ()), categories=tuple(names.get("categories") or ()),
        verbs=tuple(verb for verb in VERBS if verb != "create") if terminating else VERBS,
        selectable=selectable_of(version.get("selectableFields") or ()),
        unknown_field="field label not supported: {field}",
        subresources=(*((STATUS,) if has_status else ()), *((SCALE,) if scale is not None else ())),
        stored_as=stored_resource(crd), schema=schema, terminating=terminating,
        warning=_warning(resource, version), compiled=compiled, scale_paths=scale,
    )
    if view is not None:
        object.__setattr__(kind, "view", view(kind))
    return kind


def _warning(resource: Resource, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{resource.api_version} {resource.kind} is deprecated"
