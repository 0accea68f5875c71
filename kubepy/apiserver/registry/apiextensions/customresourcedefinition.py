"""CustomResourceDefinition: a kind that clients define (`apiextensions-apiserver/pkg/registry/customresourcedefinition`).

The server itself accepts the names and establishes it; the finalizer of a new one keeps it until its objects are gone.
"""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.meta import set_condition
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.apiextensions.definition_validation import definition, definition_update
from kubepy.apiserver.registry.columns import PLAIN, at
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context
from kubepy.base.clock import format_time

RESOURCE = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that a definition gets when it is deleted: its instances go first."""


class CustomResourceDefinitionStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    status_keeps_metadata = True
    tracks_generation = True
    returns_deleted = True

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
        return definition_update(obj, old)

    def changes_generation(self, obj: Object, old: Object) -> bool:
        return bool(obj.get("spec") != old.get("spec"))

    def deletion(self, old: Object, now: float) -> Object | None:
        if old["metadata"].get("deletionTimestamp") is not None:
            return None
        metadata = {**old["metadata"], "deletionTimestamp": format_time(now)}
        finalizers = list(metadata.get("finalizers") or ())
        if CLEANUP not in finalizers:
            metadata["finalizers"] = [*finalizers, CLEANUP]
        status = dict(old.get("status") or {})
        condition = {"type": "Terminating", "status": "True", "reason": "InstanceDeletionPending", "message":
                     "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"}
        status["conditions"] = set_condition(status.get("conditions") or (), condition, format_time(now))
        return {**old, "metadata": metadata, "status": status}


def _store_version(obj: Object) -> None:
    """The storage version is one that objects may be stored in."""
    status = obj["status"] = dict(obj.get("status") or {})
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
    RESOURCE,
    "customresourcedefinition",
    CustomResourceDefinitionStrategy(),
    columns=PLAIN,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
