"""ResourceClaim: devices that a pod needs (`pkg/registry/resource/resourceclaim`); the spec is fixed."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.resource.claim_spec import claim_spec, default_claim
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_MAX_RESERVED = 256


class ResourceClaimStrategy(Strategy):
    has_status = True
    status_keeps_metadata = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        default_claim(obj["spec"])

    def validate(self, context: Context, obj: Object) -> Errors:
        return claim_spec(obj.get("spec") or {}, _SPEC)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.immutable(obj.get("spec"), old.get("spec"), _SPEC)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status, before = obj.get("status") or {}, old.get("status") or {}
        errors: Errors = []
        reserved = status.get("reservedFor") or []
        if len(reserved) > _MAX_RESERVED:
            errors.append(field.too_many(_STATUS.child("reservedFor"), len(reserved), _MAX_RESERVED))
        for position, consumer in enumerate(reserved):
            path = _STATUS.child("reservedFor").index(position)
            errors += [field.required(path.child(key)) for key in ("resource", "name", "uid") if not consumer.get(key)]
        errors += check.unique([consumer.get("uid") for consumer in reserved], _STATUS.child("reservedFor"), "uid")
        if reserved and status.get("allocation") is None:
            errors.append(field.forbidden(_STATUS.child("reservedFor"), "may not be specified when `allocated` is not set"))
        if before.get("allocation") is not None and status.get("allocation") is not None:
            errors += check.immutable(status["allocation"], before["allocation"], _STATUS.child("allocation"))
        return errors


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
