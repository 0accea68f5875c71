"""ResourceClaimTemplate: what claims of pods are made of (`pkg/registry/resource/resourceclaimtemplate`)."""
from __future__ import annotations

from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.resource.claim_spec import claim_spec, default_claim
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class ResourceClaimTemplateStrategy(Strategy):
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        default_claim(at(obj, "spec.spec", {}))

    def validate(self, context: Context, obj: Object) -> Errors:
        return check.labels(at(obj, "spec.metadata.labels"), _SPEC.child("metadata", "labels")) + claim_spec(at(obj, "spec.spec", {}),
                                                                                                           _SPEC.child("spec"))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.immutable(obj.get("spec"), old.get("spec"), _SPEC)


KIND = Kind(
    Resource("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate", True),
    "resourceclaimtemplate",
    ResourceClaimTemplateStrategy(),
    columns=(NAME, AGE),
)
