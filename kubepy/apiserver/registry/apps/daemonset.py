"""DaemonSet: a pod on every node that suits.

Follows `pkg/registry/apps/daemonset`. `deprecated.daemonset.template.generation` counts changes of the template, as it always did.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import DAEMON_SETS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.apps.template import amount, matches, workload_selector
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, containers, labels
from kubepy.apiserver.registry.columns import field as value
from kubepy.apiserver.registry.columns import selector as selector_text
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.core.podspec_validation import pod_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_COUNTS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
           "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount")


class DaemonSetStrategy(Strategy):
    pod_spec = ("spec", "template", "spec")
    has_status = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)
        default_template(spec.setdefault("template", {}))
        obj["metadata"].setdefault("annotations", {}).setdefault(_TEMPLATE_GENERATION, "0")

    def prepare_create(self, context: Context, obj: Object) -> None:
        _count_template(obj, 1)

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        generation = _template_generation(old)
        if at(obj, "spec.template") != at(old, "spec.template"):
            generation += 1
        _count_template(obj, generation)

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None:
        _count_template(obj, _template_generation(old))

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = workload_selector(spec, _SPEC, "daemonset", required=False)
        template = spec.get("template") or {}
        errors += matches(spec.get("selector"), template, _SPEC)
        errors += pod_template(template, _SPEC.child("template"))
        pod = template.get("spec") or {}
        if pod.get("restartPolicy") != "Always":
            errors.append(field.not_supported(_SPEC.child("template", "spec", "restartPolicy"), pod.get("restartPolicy", ""), ("Always",)))
        if pod.get("activeDeadlineSeconds") is not None:
            errors.append(field.forbidden(_SPEC.child("template", "spec", "activeDeadlineSeconds"),
                                          "activeDeadlineSeconds in DaemonSet is not Supported"))
        errors += check.non_negative(spec.get("minReadySeconds"), _SPEC.child("minReadySeconds"))
        errors += _strategy(spec.get("updateStrategy") or {}, _SPEC.child("updateStrategy"))
        return errors + check.non_negative(spec.get("revisionHistoryLimit"), _SPEC.child("revisionHistoryLimit"))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj) + check.immutable_selector(at(obj, "spec.selector"), at(old, "spec.selector"),
                                                                      _SPEC.child("selector"))

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status = obj.get("status") or {}
        return check.counts(status, _STATUS, *_COUNTS) + check.not_decremented(status, old.get("status") or {}, _STATUS, "collisionCount")

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return template_warnings(at(obj, "spec.template", {}), old and at(old, "spec.template", {}), Path("spec.template"))


def _template_generation(obj: Object) -> int:
    try:
        return int(at(obj, "metadata.annotations", {}).get(_TEMPLATE_GENERATION, "0"))
    except ValueError:
        return 0


def _count_template(obj: Object, generation: int) -> None:
    obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = str(generation)


def _strategy(strategy: Object, path: Path) -> Errors:
    if strategy.get("type") == "OnDelete":
        return []
    if strategy.get("type") != "RollingUpdate":
        return [field.not_supported(path, field.Struct(Type=strategy.get("type", ""), RollingUpdate=None), ("RollingUpdate", "OnDelete"))]
    rolling = strategy.get("rollingUpdate")
    at_rolling = path.child("rollingUpdate")
    if rolling is None:
        return [field.required(at_rolling)]
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = check.int_or_percent(unavailable, at_rolling.child("maxUnavailable"))
    errors += check.int_or_percent(surge, at_rolling.child("maxSurge"))
    errors += check.not_over_100_percent(unavailable, at_rolling.child("maxUnavailable"))
    errors += check.not_over_100_percent(surge, at_rolling.child("maxSurge"))
    if amount(unavailable) and amount(surge):
        errors.append(field.invalid(at_rolling.child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
    if not amount(unavailable) and not amount(surge):
        errors.append(field.required(at_rolling.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
    return errors


KIND = Kind(
    DAEMON_SETS,
    "daemonset",
    DaemonSetStrategy(),
    columns=(
        NAME,
        *(column(name, "integer", f"=apps.v1.DaemonSetStatus.{key}", value(f"status.{key}", 0)) for name, key in (
            ("Desired", "desiredNumberScheduled"), ("Current", "currentNumberScheduled"), ("Ready", "numberReady"),
            ("Up-to-date", "updatedNumberScheduled"), ("Available", "numberAvailable"))),
        column("Node Selector", "string", "=core.v1.PodSpec.nodeSelector", lambda obj: labels(at(obj, "spec.template.spec.nodeSelector"))),
        AGE,
        *containers("spec.template"),
        column("Selector", "string", "=apps.v1.DaemonSetSpec.selector", lambda obj: selector_text(at(obj, "spec.selector")), 1),
    ),
    short_names=("ds",),
    derived_annotations=(_TEMPLATE_GENERATION,),
    categories=("all",),
    subresources=(STATUS,),
)
