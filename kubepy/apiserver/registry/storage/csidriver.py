"""CSIDriver: a storage driver and what it can do (`pkg/registry/storage/csidriver`)."""
from __future__ import annotations

from typing import Any

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CSI_DRIVERS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")


class CSIDriverStrategy(Strategy):
    allow_unconditional_update = False
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("attachRequired", True)
        spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
        for key in ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"):
            spec.setdefault(key, False)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def settle(self, obj: Object) -> None:
        """VolumeLimitScaling is off."""
        (obj.get("spec") or {}).pop("preventPodSchedulingIfMissing", None)

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        if obj.get("spec") != old.get("spec"):
            obj["metadata"]["generation"] = at(old, "metadata.generation", 0) + 1

    def validate(self, context: Context, obj: Object) -> Errors:
        return _spec(obj.get("spec") or {})

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = _spec(new)
        errors += check.immutable(new.get("attachRequired"), before.get("attachRequired"), _SPEC.child("attachedRequired"))
        return errors + check.immutable(new.get("volumeLifecycleModes"), before.get("volumeLifecycleModes"),
                                        _SPEC.child("volumeLifecycleModes"))


def _spec(spec: Object) -> Errors:
    errors: Errors = []
    if spec.get("fsGroupPolicy") is not None:
        errors += check.one_of(spec["fsGroupPolicy"], _SPEC.child("fsGroupPolicy"), _POLICIES)
    seen: set[str] = set()
    for position, request in enumerate(spec.get("tokenRequests") or ()):
        path = _SPEC.child("tokenRequests").index(position)
        audience, seconds = request.get("audience", ""), request.get("expirationSeconds")
        if audience in seen:
            errors.append(field.duplicate(path.child("audience"), audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < 600:
            errors.append(field.invalid(path.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
        if seconds is not None and seconds > 1 << 32:
            errors.append(field.invalid(path.child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
    for mode in spec.get("volumeLifecycleModes") or ():
        errors += check.one_of(mode, _SPEC.child("volumeLifecycleModes"), ("Persistent", "Ephemeral"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        errors.append(field.invalid(_SPEC.child("nodeAllocatableUpdatePeriodSeconds"), period,
                                    "must be greater than or equal to 10 seconds"))
    return errors


def _flag(key: str) -> Any:
    return lambda obj: bool(at(obj, f"spec.{key}"))


def _tokens(obj: Object) -> str:
    return ",".join(request.get("audience", "") for request in at(obj, "spec.tokenRequests", [])) or UNSET


KIND = Kind(
    CSI_DRIVERS,
    "csidriver",
    CSIDriverStrategy(),
    columns=(
        NAME,
        column("AttachRequired", "boolean", "=storage.v1.CSIDriverSpec.attachRequired", _flag("attachRequired")),
        column("PodInfoOnMount", "boolean", "=storage.v1.CSIDriverSpec.podInfoOnMount", _flag("podInfoOnMount")),
        column("StorageCapacity", "boolean", "=storage.v1.CSIDriverSpec.storageCapacity", _flag("storageCapacity")),
        column("TokenRequests", "string", "=storage.v1.CSIDriverSpec.tokenRequests", _tokens),
        column("RequiresRepublish", "boolean", "=storage.v1.CSIDriverSpec.requiresRepublish", _flag("requiresRepublish")),
        column("Modes", "string", "=storage.v1.CSIDriverSpec.volumeLifecycleModes",
               lambda obj: ",".join(at(obj, "spec.volumeLifecycleModes", [])) or "<none>"),
        AGE,
    ),
)
