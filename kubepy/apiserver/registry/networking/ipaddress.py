"""IPAddress: an address of a service range that is in use (`pkg/registry/networking/ipaddress`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import NAME, at, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.networking.canonical import canonical_address
from kubepy.apiserver.request import Context

_PARENT = Path("spec.parentRef")


class IPAddressStrategy(Strategy):
    name_kind = "path"

    def validate(self, context: Context, obj: Object) -> Errors:
        errors = canonical_address(at(obj, "metadata.name", ""), Path("metadata.name"))
        return errors + _parent(at(obj, "spec.parentRef"))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = at(obj, "spec.parentRef"), at(old, "spec.parentRef")
        return [] if new == before else [field.invalid(_PARENT, _shown_parent(new), check.IMMUTABLE)]


def _parent(parent: Object | None) -> Errors:
    if parent is None:
        return [field.required(_PARENT)]
    errors: Errors = []
    if parent.get("group"):
        errors += check.named(name.subdomain, parent["group"], _PARENT.child("group"))
    errors += check.need_named(name.path_segment, parent.get("resource", ""), _PARENT.child("resource"))
    errors += check.need_named(name.path_segment, parent.get("name", ""), _PARENT.child("name"))
    if parent.get("namespace"):
        errors += check.named(name.path_segment, parent["namespace"], _PARENT.child("namespace"))
    return errors


def _shown_parent(parent: Object | None) -> Object | None:
    if parent is None:
        return None
    return field.Struct({title: parent.get(key, "") for title, key in (("Group", "group"), ("Resource", "resource"),
                                                                       ("Namespace", "namespace"), ("Name", "name"))})


def _reference(obj: Object) -> str:
    parent = at(obj, "spec.parentRef", {})
    parts = [f"{parent['resource']}.{parent['group']}" if parent.get("group") else parent.get("resource", ""), parent.get("namespace", ""),
             parent.get("name", "")]
    return "/".join(part for part in parts if part)


KIND = Kind(
    Resource("networking.k8s.io", "v1", "ipaddresses", "IPAddress", False),
    "ipaddress",
    IPAddressStrategy(),
    columns=(NAME, column("ParentRef", "string", "=networking.v1.IPAddressSpec.parentRef", _reference)),
    short_names=("ip",),
)
