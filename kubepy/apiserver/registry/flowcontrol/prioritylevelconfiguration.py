"""PriorityLevelConfiguration: how many requests of a level are served at once (`pkg/registry/flowcontrol/prioritylevelconfiguration`)."""
from __future__ import annotations

from typing import Any

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.flowcontrol import priority_levels
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, at, column
from kubepy.apiserver.registry.flowcontrol.flowschema import conditions, struct
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_MAX_QUEUES = 10_000_000


class PriorityLevelConfigurationStrategy(Strategy):
    has_status = True
    status_keeps_metadata = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        limited, exempt = spec.get("limited"), spec.get("exempt")
        if spec.get("type") == "Exempt":
            if exempt is None and limited is None:
                exempt = spec["exempt"] = {}
            if exempt is not None:
                exempt.setdefault("nominalConcurrencyShares", 0)
                exempt.setdefault("lendablePercent", 0)
        if limited is not None:
            limited.setdefault("nominalConcurrencyShares", 30)
            limited.setdefault("lendablePercent", 0)
            queuing = (limited.get("limitResponse") or {}).get("queuing")
            if queuing is not None:
                for key, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                    if not queuing.get(key):
                        queuing[key] = value

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        kind = spec.get("type", "")
        exempt_name = at(obj, "metadata.name") == "exempt"
        errors: Errors = []
        if at(obj, "metadata.name") == "catch-all" and spec != _fixed():
            return [field.invalid(_SPEC, struct(_go_spec(spec)), "spec of 'catch-all' must equal the fixed value")]
        if (kind == "Exempt") != exempt_name and kind in ("Exempt", "Limited"):
            errors.append(field.invalid(_SPEC.child("type"), kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
        if kind == "Exempt":
            if spec.get("limited") is not None:
                errors.append(field.forbidden(_SPEC.child("limited"), "must be nil if the type is not Limited"))
            errors += _shares(spec.get("exempt") or {}, _SPEC.child("exempt"))
        elif kind == "Limited":
            if spec.get("exempt") is not None:
                errors.append(field.forbidden(_SPEC.child("exempt"), "must be nil if the type is Limited"))
            if spec.get("limited") is None:
                errors.append(field.required(_SPEC.child("limited"), "must not be empty when type is Limited"))
            else:
                errors += _limited(spec["limited"], _SPEC.child("limited"))
        else:
            errors.append(field.not_supported(_SPEC.child("type"), kind, ("Exempt", "Limited")))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return conditions(at(obj, "status.conditions", []))


def _fixed() -> Object:
    spec: Object = next(found["spec"] for found in priority_levels() if found["metadata"]["name"] == "catch-all")
    return spec


def _go_spec(spec: Object) -> Object:
    """A PriorityLevelConfigurationSpec as Go's encoding/json shows the internal type."""
    limited, exempt = spec.get("limited"), spec.get("exempt")
    response = (limited or {}).get("limitResponse") or {}
    queuing = response.get("queuing")
    return {
        "Type": spec.get("type", ""),
        "Limited": limited and {
            "NominalConcurrencyShares": limited.get("nominalConcurrencyShares", 0),
            "LimitResponse": {"Type": response.get("type", ""), "Queuing": queuing and {
                "Queues": queuing.get("queues", 0), "HandSize": queuing.get("handSize", 0),
                "QueueLengthLimit": queuing.get("queueLengthLimit", 0)}},
            "LendablePercent": limited.get("lendablePercent"), "BorrowingLimitPercent": limited.get("borrowingLimitPercent")},
        "Exempt": exempt and {"NominalConcurrencyShares": exempt.get("nominalConcurrencyShares"),
                              "LendablePercent": exempt.get("lendablePercent")}}


def _shares(value: Object, path: Path) -> Errors:
    errors: Errors = []
    shares, lendable = value.get("nominalConcurrencyShares"), value.get("lendablePercent")
    if shares is not None and shares < 0:
        errors.append(field.invalid(path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer"))
    if lendable is not None and not 0 <= lendable <= 100:
        errors.append(field.invalid(path.child("lendablePercent"), lendable, "must be between 0 and 100, inclusive"))
    return errors


def _limited(limited: Object, path: Path) -> Errors:
    errors: Errors = []
    shares = limited.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        errors.append(field.invalid(path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer"))
    response = limited.get("limitResponse") or {}
    here = path.child("limitResponse")
    kind, queuing = response.get("type", ""), response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            errors.append(field.forbidden(here.child("queuing"), "must be nil if limited.limitResponse.type is not Limited"))
    elif kind == "Queue":
        if queuing is None:
            errors.append(field.required(here.child("queuing"), "must not be empty if limited.limitResponse.type is Limited"))
        else:
            errors += _queuing(queuing, here.child("queuing"))
    else:
        errors.append(field.not_supported(here.child("type"), kind, ("Queue", "Reject")))
    errors += _shares({"lendablePercent": limited.get("lendablePercent")}, path)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        errors.append(field.invalid(path.child("borrowingLimitPercent"), borrowing, "if specified, must be a non-negative integer"))
    return errors


def _queuing(queuing: Object, path: Path) -> Errors:
    errors: Errors = []
    queues, hand, length = (queuing.get(key, 0) for key in ("queues", "handSize", "queueLengthLimit"))
    if length <= 0:
        errors.append(field.invalid(path.child("queueLengthLimit"), length, "must be positive"))
    if queues <= 0:
        errors.append(field.invalid(path.child("queues"), queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        errors.append(field.invalid(path.child("queues"), queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        errors.append(field.invalid(path.child("handSize"), hand, "must be positive"))
    elif hand > queues:
        errors.append(field.invalid(path.child("handSize"), hand, f"should not be greater than queues ({queues})"))
    return errors


def _queue_field(key: str) -> Any:
    return lambda obj: at(obj, f"spec.limited.limitResponse.queuing.{key}", NONE)


KIND = Kind(
    Resource("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", False),
    "prioritylevelconfiguration",
    PriorityLevelConfigurationStrategy(),
    columns=(
        NAME,
        column("Type", "string", "=flowcontrol.v1.PriorityLevelConfigurationSpec.type", lambda obj: at(obj, "spec.type", "")),
        column("NominalConcurrencyShares", "string", "=flowcontrol.v1.LimitedPriorityLevelConfiguration.nominalConcurrencyShares",
               lambda obj: at(obj, "spec.limited.nominalConcurrencyShares", NONE)),
        *(column(title, "string", f"=flowcontrol.v1.QueuingConfiguration.{key}", _queue_field(key))
          for title, key in (("Queues", "queues"), ("HandSize", "handSize"), ("QueueLengthLimit", "queueLengthLimit"))),
        AGE,
    ),
    subresources=(STATUS,),
)
