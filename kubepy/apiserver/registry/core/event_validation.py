"""Validation of Events: free for the old core ones, strict for those with an eventTime or sent to events.k8s.io.

Source: `pkg/apis/core/validation/events.go`.
"""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import at


def event(obj: Object, *, strict: bool) -> Errors:
    """A core event, given or converted; `strict` when it was sent to events.k8s.io/v1."""
    errors = _plausible(obj, strict=strict)
    if not strict:
        return errors
    errors += _series(obj.get("series"))
    if not obj.get("eventTime"):
        errors.append(field.required(Path("eventTime")))
    if obj.get("type") not in ("Normal", "Warning"):
        errors.append(_hidden("type", f"has invalid value: {obj.get('type', '')}"))
    errors += [_hidden(key, "needs to be unset") for key in ("firstTimestamp", "lastTimestamp", "count") if obj.get(key)]
    if at(obj, "source.component") or at(obj, "source.host"):
        errors.append(_hidden("source", "needs to be unset"))
    return errors


def _plausible(obj: Object, *, strict: bool) -> Errors:
    """legacyValidateEvent: what every event must be."""
    own, about = at(obj, "metadata.namespace", ""), at(obj, "involvedObject.namespace", "")
    timed = bool(obj.get("eventTime"))
    wrong = [field.invalid(Path("involvedObject.namespace"), about, "does not match event.namespace")]
    if timed:
        errors = wrong if not about and own not in ("default", "kube-system") else []
        return errors + _reported(obj, "reportingController" if strict else "reportingComponent")
    return wrong if (own != about if about else own not in ("", "default")) else []


def _reported(obj: Object, title: str) -> Errors:
    controller = obj.get("reportingComponent", "")
    errors = check.need(controller, Path(title)) + check.named(name.qualified, controller, Path(title))
    instance = obj.get("reportingInstance", "")
    errors += check.need(instance, Path("reportingInstance"))
    if len(instance.encode()) > 128:
        errors.append(_hidden("reportingInstance", "can have at most 128 characters"))
    for key, limit in (("action", 128), ("reason", 128)):
        errors += check.need(obj.get(key), Path(key))
        if len((obj.get(key) or "").encode()) > limit:
            errors.append(_hidden(key, f"can have at most {limit} characters"))
    if len((obj.get("message") or "").encode()) > 1024:
        errors.append(_hidden("message", "can have at most 1024 characters"))
    return errors


def _series(series: Object | None) -> Errors:
    if series is None:
        return []
    errors: Errors = []
    if series.get("count", 0) < 2:
        errors.append(_hidden("series.count", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(field.required(Path("series.lastObservedTime")))
    return errors


def event_update(obj: Object, old: Object) -> Errors:
    """Of an event sent to events.k8s.io/v1, both as core has them: hardly anything but the series changes."""
    errors = _plausible(obj, strict=True)
    if (obj.get("series") or None) != (old.get("series") or None):
        errors += _series(obj.get("series"))
    for key in ("involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "reason", "type", "eventTime",
                "action", "related", "reportingComponent", "reportingInstance"):
        if (obj.get(key) or None) != (old.get(key) or None):
            path = Path("reportingController" if key == "reportingComponent" else key)
            errors.append(field.invalid(path, obj.get(key, 0 if key == "count" else None if key in _OBJECTS else ""), check.IMMUTABLE))
    return errors


_OBJECTS = ("involvedObject", "source", "firstTimestamp", "lastTimestamp", "eventTime", "related")


def _hidden(path: str, why: str) -> FieldError:
    """Upstream shows no value here."""
    return field.invalid(Path(path), "", why)
