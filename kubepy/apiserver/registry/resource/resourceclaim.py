"""ResourceClaim: devices that a pod needs (`pkg/registry/resource/resourceclaim`); the spec is fixed."""
from __future__ import annotations

from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.resource.claim_spec import claim_spec, default_claim, default_tolerations
from kubepy.apiserver.registry.resource.claim_status import claim_status, forget_deallocated
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class ResourceClaimStrategy(Strategy):
    has_status = True
    status_keeps_metadata = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        default_claim(obj["spec"])
        for result in at(obj, "status.allocation.devices.results", []):
            default_tolerations(result)

    def validate(self, context: Context, obj: Object) -> Errors:
        return claim_spec(obj.get("spec") or {}, _SPEC)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.immutable(obj.get("spec"), old.get("spec"), _SPEC)

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None:
        forget_deallocated(obj, old)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return claim_status(obj, old)


def _state(obj: Object) -> str:
    status = obj.get("status") or {}
    shown = ["deleted"] if at(obj, "metadata.deletionTimestamp") else []
    if status.get("allocation") is None:
        shown += [] if shown else ["pending"]
    else:
        shown.append("allocated")
        if status.get("reservedFor"):
            shown.append("reserved")
    return ",".join(shown)


KIND = Kind(
    Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True),
    "resourceclaim",
    ResourceClaimStrategy(),
    columns=(NAME, column("State", "string", "A summary of the current state (allocated, pending, reserved, etc.).", _state), AGE),
    subresources=(STATUS,),
)
