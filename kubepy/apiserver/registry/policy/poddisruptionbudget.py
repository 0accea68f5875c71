"""PodDisruptionBudget: how many pods may be away by choice (`pkg/registry/policy/poddisruptionbudget`)."""
from __future__ import annotations

from typing import Any

from kubepy.api import field, selector
from kubepy.api.field import Errors, Path
from kubepy.api.resource import POD_DISRUPTION_BUDGETS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class PodDisruptionBudgetStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    tracks_generation = True

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
        errors: Errors = []
        if low is not None and high is not None:
            chosen = spec.get("selector")
            shown = field.Struct(MinAvailable=low, Selector=None if chosen is None else check.selector_value(chosen), MaxUnavailable=high,
                                 UnhealthyPodEvictionPolicy=spec.get("unhealthyPodEvictionPolicy"))
            errors.append(field.invalid(_SPEC, shown, "minAvailable and maxUnavailable cannot be both set"))
        for key, amount in (("minAvailable", low), ("maxUnavailable", high)):
            if amount is not None:
                errors += check.int_or_percent(amount, _SPEC.child(key))
                errors += check.not_over_100_percent(amount, _SPEC.child(key))
        errors += selector.validate_object(spec.get("selector"), _SPEC.child("selector"))
        if spec.get("unhealthyPodEvictionPolicy") is not None:
            errors += check.one_of(spec["unhealthyPodEvictionPolicy"], _SPEC.child("unhealthyPodEvictionPolicy"),
                                   ("AlwaysAllow", "IfHealthyBudget"))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status, path = obj.get("status") or {}, Path("status")
        return check.conditions(status.get("conditions") or [], path.child("conditions")) + check.counts(
            status, path, "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _or_na(key: str) -> Any:
    return lambda obj: str(at(obj, f"spec.{key}", "N/A"))


KIND = Kind(
    POD_DISRUPTION_BUDGETS,
    "poddisruptionbudget",
    PodDisruptionBudgetStrategy(),
    columns=(
        NAME,
        column("Min Available", "string", "The minimum number of pods that must be available.", _or_na("minAvailable")),
        column("Max Unavailable", "string", "The maximum number of pods that may be unavailable.", _or_na("maxUnavailable")),
        column("Allowed Disruptions", "integer", "Calculated number of pods that may be disrupted at this time.",
               lambda obj: at(obj, "status.disruptionsAllowed", 0)),
        AGE,
    ),
    short_names=("pdb",),
    subresources=(STATUS,),
)
