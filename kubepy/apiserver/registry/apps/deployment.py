"""Deployment: replicated pods that are replaced gradually.

Follows `pkg/registry/apps/deployment`. Changed annotations count as a new generation, so that `kubectl annotate` is noticed.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import DEPLOYMENTS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.apps.template import matching_template, rolling_update, workload_selector
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, containers
from kubepy.apiserver.registry.columns import field as value
from kubepy.apiserver.registry.columns import selector as selector_text
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_COUNTS = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
           "terminatingReplicas", "collisionCount")


class DeploymentStrategy(Strategy):
    pod_spec = ("spec", "template", "spec")
    has_status = True
    tracks_generation = True
    status_keeps = ("labels",)

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        default_template(spec.setdefault("template", {}))

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = check.non_negative(spec.get("replicas"), _SPEC.child("replicas"))
        errors += workload_selector(spec, _SPEC, "deployment")
        errors += matching_template(spec, _SPEC, "ReplicaSet")
        errors += _strategy(spec.get("strategy") or {}, _SPEC.child("strategy"))
        ready, deadline = spec.get("minReadySeconds", 0), spec.get("progressDeadlineSeconds")
        errors += check.non_negative(ready, _SPEC.child("minReadySeconds"))
        errors += check.non_negative(spec.get("revisionHistoryLimit"), _SPEC.child("revisionHistoryLimit"))
        if deadline is not None:
            errors += check.non_negative(deadline, _SPEC.child("progressDeadlineSeconds"))
            if deadline <= ready:
                errors.append(field.invalid(_SPEC.child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj) + check.immutable_selector(at(obj, "spec.selector"), at(old, "spec.selector"),
                                                                      _SPEC.child("selector"))

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status = obj.get("status") or {}
        errors = check.counts(status, _STATUS, *_COUNTS)
        errors += check.at_most(status, _STATUS, "replicas", ("updatedReplicas", "readyReplicas", "availableReplicas"), "status.replicas")
        errors += check.at_most(status, _STATUS, "readyReplicas", ("availableReplicas",), "readyReplicas")
        return errors + check.not_decremented(status, old.get("status") or {}, _STATUS, "collisionCount")

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return template_warnings(at(obj, "spec.template", {}), old and at(old, "spec.template", {}), Path("spec.template"))

    def changes_generation(self, obj: Object, old: Object) -> bool:
        return obj.get("spec") != old.get("spec") or at(obj, "metadata.annotations", {}) != at(old, "metadata.annotations", {})


def _strategy(strategy: Object, path: Path) -> Errors:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            return [field.forbidden(path.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'")]
        return []
    if kind == "RollingUpdate":
        if rolling is None:
            return [field.required(path.child("rollingUpdate"), "this should be defaulted and never be nil")]
        return rolling_update(rolling, path.child("rollingUpdate"))
    return [field.not_supported(path, field.Struct(Type=kind, RollingUpdate=None), ("Recreate", "RollingUpdate"))]


def _ready(obj: Object) -> str:
    return f"{at(obj, 'status.readyReplicas', 0)}/{at(obj, 'spec.replicas', 0)}"


KIND = Kind(
    DEPLOYMENTS,
    "deployment",
    DeploymentStrategy(),
    columns=(
        NAME,
        column("Ready", "string", "Number of the pod with ready state", _ready),
        column("Up-to-date", "string", "=apps.v1.DeploymentStatus.updatedReplicas", value("status.updatedReplicas", 0)),
        column("Available", "string", "=apps.v1.DeploymentStatus.availableReplicas", value("status.availableReplicas", 0)),
        AGE,
        *containers("spec.template"),
        column("Selector", "string", "=apps.v1.DeploymentSpec.selector", lambda obj: selector_text(at(obj, "spec.selector")), 1),
    ),
    short_names=("deploy",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
