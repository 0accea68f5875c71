"""Lease: who holds something, and until when (`pkg/registry/coordination/lease`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import LEASES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class LeaseStrategy(Strategy):
    allow_create_on_update = True
    allow_unconditional_update = False

    def settle(self, obj: Object) -> None:
        """CoordinatedLeaderElection is off."""
        for key in ("strategy", "preferredHolder"):
            (obj.get("spec") or {}).pop(key, None)

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors: Errors = []
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            errors.append(field.invalid(_SPEC.child("leaseDurationSeconds"), seconds, "must be greater than 0"))
        return errors + check.non_negative(spec.get("leaseTransitions"), _SPEC.child("leaseTransitions"))


KIND = Kind(
    LEASES,
    "lease",
    LeaseStrategy(),
    columns=(
        NAME,
        column("Holder", "string", "=coordination.v1.LeaseSpec.holderIdentity", lambda obj: at(obj, "spec.holderIdentity", "")),
        AGE,
    ),
)
