"""CustomResourceDefinition: a kind that clients define (`apiextensions-apiserver/pkg/registry/customresourcedefinition`).

The server itself accepts the names and establishes it; the finalizer of a new one keeps it until its objects are gone.
"""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.apiextensions.definition_validation import definition, definition_update
from kubepy.apiserver.registry.columns import PLAIN, at
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context


class CustomResourceDefinitionStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    status_keeps_metadata = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        names = spec.setdefault("names", {})
        if not names.get("singular") and names.get("kind"):
            names["singular"] = names["kind"].lower()
        if not names.get("listKind") and names.get("kind"):
            names["listKind"] = f"{names['kind']}List"
        conversion = spec.setdefault("conversion", {})
        conversion.setdefault("strategy", "None")
        service = at(conversion, "webhook.clientConfig.service")
        if service is not None:
            service.setdefault("port", 443)

    def prepare_create(self, context: Context, obj: Object) -> None:
        _store_version(obj)

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        _store_version(obj)

    def validate(self, context: Context, obj: Object) -> Errors:
        return definition(obj)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return definition(obj) + definition_update(obj, old)


def _store_version(obj: Object) -> None:
    """The storage version is one that objects may be stored in."""
    status = obj.setdefault("status", {})
    status.setdefault("acceptedNames", {"plural": "", "kind": ""})
    status.setdefault("conditions", None)
    stored = list(status.get("storedVersions") or ())
    for version in at(obj, "spec.versions", []):
        if version.get("storage"):
            if version.get("name") not in stored:
                stored.append(version.get("name"))
            break
    status["storedVersions"] = stored or None


KIND = Kind(
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False),
    "customresourcedefinition",
    CustomResourceDefinitionStrategy(),
    columns=PLAIN,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
