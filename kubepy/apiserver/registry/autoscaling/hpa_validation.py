"""Validation of HorizontalPodAutoscalers (`pkg/apis/autoscaling/validation`)."""
from __future__ import annotations

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

_SPEC = Path("spec")
_SOURCES = {"ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods", "Resource": "resource"}
_MAX_WINDOW, _MAX_PERIOD = 3600, 1800


def autoscaler_spec(spec: Object, *, lowest: int = 1) -> Errors:
    """validateHorizontalPodAutoscalerSpec."""
    errors: Errors = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and low < lowest:
        errors.append(field.invalid(_SPEC.child("minReplicas"), low, f"must be greater than or equal to {lowest}"))
    if high < 1:
        errors.append(field.required(_SPEC.child("maxReplicas"), "must be set and greater than 0"))
    if low is not None and high < low:
        errors.append(field.invalid(_SPEC.child("maxReplicas"), high, "must be greater than or equal to `minReplicas`"))
    errors += reference(spec.get("scaleTargetRef") or {}, _SPEC.child("scaleTargetRef"), need_group=True)
    errors += _metrics(spec.get("metrics") or [], low)
    behavior = spec.get("behavior")
    if behavior is not None:
        for key in ("scaleUp", "scaleDown"):
            if behavior.get(key) is not None:
                errors += _rules(behavior[key], _SPEC.child("behavior", key))
    return errors


def reference(value: Object, path: Path, *, need_group: bool = False) -> Errors:
    """ValidateCrossVersionObjectReference."""
    errors: Errors = []
    for key in ("kind", "name"):
        errors += check.need_named(name.path_segment, value.get(key, ""), path.child(key))
    version = value.get("apiVersion", "")
    if version.count("/") > 1:
        errors.append(field.invalid(path.child("apiVersion"), version, f"unexpected GroupVersion string: {version}"))
    elif need_group and not version and value.get("kind") not in ("ReplicationController",):
        errors.append(field.invalid(path.child("apiVersion"), version, "apiVersion must specify API group"))
    return errors


def _metrics(metrics: list[Object], low: int | None) -> Errors:
    errors: Errors = []
    path = _SPEC.child("metrics")
    for position, metric in enumerate(metrics):
        errors += _metric(metric, path.index(position))
    if low == 0 and not any(metric.get("object") is not None or metric.get("external") is not None for metric in metrics):
        errors.append(field.forbidden(path, "must specify at least one Object or External metric to support scaling to zero replicas"))
    return errors


def _metric(metric: Object, path: Path) -> Errors:
    kind = metric.get("type", "")
    if not kind:
        return [field.required(path.child("type"), "must specify a metric source type")]
    if kind not in _SOURCES:
        return [field.not_supported(path.child("type"), kind, tuple(_SOURCES))] * 2  # upstream says so twice
    wanted = _SOURCES[kind]
    given = [source for source in ("object", "pods", "resource", "external", "containerResource") if metric.get(source) is not None]
    errors: Errors = []
    for source in given:
        if source == wanted:
            errors += _source(source, metric[source], path.child(source))
    if wanted not in given:
        return [field.required(path.child(wanted), "must populate information for the given metric source")]
    if len(given) > 1:
        errors += [field.forbidden(path.child(source), "must populate the given metric source only") for source in given
                   if source != wanted]
    return errors


def _source(kind: str, source: Object, path: Path) -> Errors:
    target, at_target = source.get("target") or {}, path.child("target")
    errors: Errors = []
    if kind in ("resource", "containerResource"):
        if not source.get("name"):
            errors.append(field.required(path.child("name"), "must specify a resource name"))
        if kind == "containerResource" and not source.get("container"):
            errors.append(field.required(path.child("container"), "must specify a container"))
        errors += _target(target, at_target)
        return errors + _resource_target(target, at_target)
    if kind == "object":
        errors += reference(source.get("describedObject") or {}, path.child("describedObject"))
    errors += _identifier(source.get("metric") or {}, path.child("metric"))
    errors += _target(target, at_target)
    value, average = target.get("value"), target.get("averageValue")
    if kind == "pods":
        if average is None or check.sign(average) < 1:
            errors.append(field.required(at_target.child("averageValue"), "must specify a positive target averageValue"))
    elif value is None and average is None:
        errors.append(field.required(at_target.child("averageValue"), "must set either a target value for metric or a per-pod target"))
    elif kind == "external" and value is not None and average is not None:
        errors.append(field.forbidden(at_target.child("value"), "may not set both a target value for metric and a per-pod target"))
    return errors


def _resource_target(target: Object, path: Path) -> Errors:
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        return [field.required(path.child("averageUtilization"), "must set either a target raw value or a target utilization")]
    if utilization is not None and average is not None:
        return [field.forbidden(path.child("averageValue"), "may not set both a target raw value and a target utilization")]
    return []


def _identifier(metric: Object, path: Path) -> Errors:
    errors = check.need_named(name.path_segment, metric.get("name", ""), path.child("name"))
    return errors + selector.validate_object(metric.get("selector"), path.child("selector"))


def _target(target: Object, path: Path) -> Errors:
    errors: Errors = []
    kind = target.get("type", "")
    if not kind:
        errors.append(field.required(path.child("type"), "must specify a metric target type"))
    if kind not in ("Utilization", "Value", "AverageValue"):
        errors.append(field.invalid(path.child("type"), kind, "must be either Utilization, Value, or AverageValue"))
    for key in ("value", "averageValue"):
        if target.get(key) is not None and check.sign(target[key]) != 1:
            errors.append(field.invalid(path.child(key), str(target[key]), "must be positive"))
    if target.get("averageUtilization") is not None and target["averageUtilization"] < 1:
        errors.append(field.invalid(path.child("averageUtilization"), target["averageUtilization"], "must be greater than 0"))
    return errors


def _rules(rules: Object, path: Path) -> Errors:
    errors: Errors = []
    window, chosen = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    at_window = path.child("stabilizationWindowSeconds")
    if window is not None:
        if window < 0:
            errors.append(field.invalid(at_window, window, "must be greater than or equal to zero"))
        if window > _MAX_WINDOW:
            errors.append(field.invalid(at_window, window, f"must be less than or equal to {_MAX_WINDOW}"))
    if chosen is not None:
        errors += check.one_of(chosen, path.child("selectPolicy"), ("Disabled", "Max", "Min"))
    if rules.get("tolerance") is not None:
        errors += check.quantity_non_negative(rules["tolerance"], path.child("tolerance"))
    policies = rules.get("policies") or []
    if not policies:
        errors.append(field.required(path.child("policies"), "must specify at least one Policy"))
    for position, policy in enumerate(policies):
        here = path.child("policies").index(position)
        errors += check.one_of(policy.get("type", ""), here.child("type"), ("Percent", "Pods"))
        if policy.get("value", 0) <= 0:
            errors.append(field.invalid(here.child("value"), policy.get("value", 0), "must be greater than zero"))
        period = policy.get("periodSeconds", 0)
        if period <= 0:
            errors.append(field.invalid(here.child("periodSeconds"), period, "must be greater than zero"))
        if period > _MAX_PERIOD:
            errors.append(field.invalid(here.child("periodSeconds"), period, f"must be less than or equal to {_MAX_PERIOD}"))
    return errors
