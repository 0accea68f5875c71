"""Validation of Events: free for the old core ones, strict for those with an eventTime or sent to events.k8s.io.

Source: `pkg/apis/core/validation/events.go`.
"""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import at

_DEFAULT_NAMESPACE = "default"


def event(obj: Object, *, strict: bool) -> Errors:
    """A core event, given or converted; `strict` when it was sent to events.k8s.io/v1."""
    errors: Errors = []
    if strict:
        errors += _reported(obj, "reportingController") if obj.get("eventTime") else [field.required(Path("eventTime"))]
        if obj.get("type") not in ("Normal", "Warning"):
            errors.append(_hidden("type", f"has invalid value: {obj.get('type', '')}"))
        for key in ("firstTimestamp", "lastTimestamp"):
            if obj.get(key):
                errors.append(_hidden(key, "needs to be unset"))
        if obj.get("count"):
            errors.append(_hidden("count", "needs to be unset"))
        if (obj.get("source") or {}).get("component") or (obj.get("source") or {}).get("host"):
            errors.append(_hidden("source", "needs to be unset"))
        return errors
    errors += _namespace(obj)
    if obj.get("eventTime"):
        errors += _reported(obj, "reportingComponent")
    return errors


def _namespace(obj: Object) -> Errors:
    own, about = at(obj, "metadata.namespace", ""), at(obj, "involvedObject.namespace", "")
    path = Path("involvedObject.namespace")
    if not about:
        if own not in ("", _DEFAULT_NAMESPACE, "kube-system"):
            return [field.invalid(path, about, "does not match event.namespace")]
    elif own != about:
        return [field.invalid(path, about, "does not match event.namespace")]
    return []


def _reported(obj: Object, title: str) -> Errors:
    controller = obj.get("reportingComponent", "")
    errors = check.need(controller, Path(title)) + check.named(name.qualified, controller, Path(title))
    instance = obj.get("reportingInstance", "")
    errors += check.need(instance, Path("reportingInstance"))
    if len(instance) > 128:
        errors.append(_hidden("reportingInstance", "can have at most 128 characters"))
    for key, limit in (("action", 128), ("reason", 128)):
        errors += check.need(obj.get(key), Path(key))
        if len(obj.get(key) or "") > limit:
            errors.append(_hidden(key, f"can have at most {limit} characters"))
    if len(obj.get("message") or "") > 1024:
        errors.append(_hidden("message", "can have at most 1024 characters"))
    return errors + _series(obj.get("series"))


def _series(series: Object | None) -> Errors:
    if series is None:
        return []
    errors: Errors = []
    if series.get("count", 0) < 2:
        errors.append(_hidden("series.count", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(field.required(Path("series.lastObservedTime")))
    return errors


def event_update(obj: Object, old: Object, *, strict: bool) -> Errors:
    """What an update of a strict event may not change."""
    errors: Errors = []
    if not strict:
        return errors
    for key in ("involvedObject", "reason", "message", "related", "source", "firstTimestamp", "lastTimestamp", "count", "type",
                "reportingComponent", "reportingInstance", "action", "eventTime"):
        if (obj.get(key) or None) != (old.get(key) or None):
            errors.append(field.invalid(Path(key), obj.get(key), check.IMMUTABLE))
    return errors


def _hidden(path: str, why: str) -> FieldError:
    """Upstream shows no value here."""
    return field.invalid(Path(path), "", why)
