"""Validation of a Job's status: counters, conditions that must come in order, times, indexes (`ValidateJobStatusUpdate`).

Most rules are asked only where the update changes what they are about, so that a status that breaks one can still be mended.
"""
from __future__ import annotations

from typing import Any

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.batch.indexes import count_indexes, overlap
from kubepy.base.clock import parse_time

_STATUS = Path("status")
_CONDITIONS = _STATUS.child("conditions")
_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_PODS = "uncountedTerminatedPods"


def job_status(obj: Object, old: Object) -> Errors:
    spec, status, before = obj.get("spec") or {}, obj.get("status") or {}, old.get("status") or {}
    true, was = _true(status), _true(before)

    def changed(*keys: str) -> bool:
        return any(status.get(key) != before.get(key) for key in keys)

    def turned(*kinds: str) -> bool:
        return any((kind in true) != (kind in was) for kind in kinds)

    finished = bool(true & {"Complete", "Failed"})
    finishing = finished != bool(was & {"Complete", "Failed"})
    errors = check.counts(status, _STATUS, *_COUNTS) + _uncounted(status)
    if turned("Complete", "Failed") and {"Complete", "Failed"} <= true:
        errors.append(_refused("cannot set Complete=True and Failed=true conditions"))
    if turned("Complete", "FailureTarget") and {"Complete", "FailureTarget"} <= true:
        errors.append(_refused("cannot set Complete=True and FailureTarget=true conditions"))
    errors += _completion(status, true, turned("Complete") or changed("completionTime"), changed("startTime", "completionTime"))
    if turned("Failed") and "Failed" in true and "FailureTarget" not in true:
        errors.append(_refused("cannot set Failed=True condition without the FailureTarget=true condition"))
    if turned("Complete") and "Complete" in true and "SuccessCriteriaMet" not in true:
        errors.append(_refused("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"))
    if finished:
        errors += _finished(status, finishing, changed)
    errors += _indexes(spec, status, changed("completedIndexes"), changed("failedIndexes"))
    if finished and (finishing or changed("terminating")) and status.get("terminating"):
        errors.append(field.invalid(_STATUS.child("terminating"), status["terminating"], "terminating>0 is invalid for finished job"))
    if changed("ready", "active") and (status.get("ready") or 0) > status.get("active", 0):
        errors.append(field.invalid(_STATUS.child("ready"), status["ready"], "cannot set more ready pods than active"))
    if {"SuccessCriteriaMet", "Failed"} <= true:
        errors.append(_refused("cannot set SuccessCriteriaMet=True and Failed=true conditions"))
    if {"SuccessCriteriaMet", "FailureTarget"} <= true:
        errors.append(_refused("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"))
    if spec.get("successPolicy") is not None and "Complete" in true and "SuccessCriteriaMet" not in true:
        errors.append(_refused("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"))
    return errors + _backwards(spec, status, before, true, was)


def _true(status: Object) -> set[Any]:
    return {condition.get("type") for condition in status.get("conditions") or () if condition.get("status") == "True"}


def _uncounted(status: Object) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for key in ("succeeded", "failed"):
        for position, uid in enumerate((status.get(_PODS) or {}).get(key) or ()):
            at = _STATUS.child(_PODS, key).index(position)
            if not uid:
                errors.append(field.invalid(at, uid, "must not be empty"))
            elif uid in seen:
                errors.append(field.duplicate(at, uid))
            seen.add(uid)
    return errors


def _completion(status: Object, true: set[Any], completing: bool, timed: bool) -> Errors:
    errors: Errors = []
    start, end, at = status.get("startTime"), status.get("completionTime"), _STATUS.child("completionTime")
    if completing and end is not None and "Complete" not in true:
        errors.append(field.invalid(at, end, "cannot set completionTime when there is no Complete=True condition"))
    if completing and end is None and "Complete" in true:
        errors.append(field.required(at, "completionTime is required for Complete jobs"))
    if timed and start is not None and end is not None and parse_time(end) < parse_time(start):
        errors.append(field.invalid(at, end, "completionTime cannot be set before startTime"))
    return errors


def _finished(status: Object, finishing: bool, changed: Any) -> Errors:
    errors: Errors = []
    if status.get("active", 0) > 0 and (finishing or changed("active")):
        errors.append(field.invalid(_STATUS.child("active"), status["active"], "active>0 is invalid for finished job"))
    if status.get("startTime") is None and (finishing or changed("startTime")):
        errors.append(field.required(_STATUS.child("startTime"), "startTime is required for finished job"))
    pods = status.get(_PODS) or {}
    if (finishing or changed(_PODS)) and (pods.get("succeeded") or pods.get("failed")):
        shown = field.Struct(Succeeded=pods.get("succeeded"), Failed=pods.get("failed"))
        errors.append(field.invalid(_STATUS.child(_PODS), shown, f"{_PODS} needs to be empty for finished job"))
    return errors


def _indexes(spec: Object, status: Object, completing: bool, failing: bool) -> Errors:
    done, failed, total = status.get("completedIndexes", ""), status.get("failedIndexes"), spec.get("completions")
    errors: Errors = []
    for key, text, asked in (("completedIndexes", done, completing),
                             ("failedIndexes", failed, failing and spec.get("backoffLimitPerIndex") is not None)):
        if asked and text is not None and total is not None:
            try:
                count_indexes(text, total)
            except ValueError as error:
                errors.append(field.invalid(_STATUS.child(key), text, f"error parsing {key}: {error}"))
    if completing and done and spec.get("completionMode") != "Indexed":
        errors.append(field.invalid(_STATUS.child("completedIndexes"), done,
                                    "cannot set non-empty completedIndexes when non-indexed completion mode"))
    if failing and failed is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(field.invalid(_STATUS.child("failedIndexes"), failed,
                                    "cannot set non-null failedIndexes when backoffLimitPerIndex is null"))
    if (completing or failing) and failed is not None and total is not None and (shared := overlap(done, failed, total)) is not None:
        errors.append(field.invalid(_STATUS.child("failedIndexes"), failed,
                                    f"failedIndexes and completedIndexes overlap at index: {shared}"))
    return errors


def _backwards(spec: Object, status: Object, before: Object, true: set[Any], was: set[Any]) -> Errors:
    """What has happened stays so."""
    errors = [_refused(f"cannot disable the terminal {kind}=True condition") for kind in ("Failed", "Complete", "FailureTarget")
              if kind in was and kind not in true]
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for key in ("failed", "succeeded"):
        if status.get(key, 0) < before.get(key, 0) and not (key == "succeeded" and elastic):
            errors.append(field.invalid(_STATUS.child(key), status.get(key, 0), f"cannot decrease the {key} counter"))
    end, start = status.get("completionTime"), before.get("startTime")
    if None not in (end, before.get("completionTime")) and end != before["completionTime"]:
        errors.append(field.invalid(_STATUS.child("completionTime"), end, "completionTime cannot be mutated"))
    if start is not None and status.get("startTime") != start and not spec.get("suspend"):
        errors.append(field.required(_STATUS.child("startTime"), "startTime cannot be removed for unsuspended job"))
    if "SuccessCriteriaMet" in was and "SuccessCriteriaMet" not in true:
        errors.append(_refused("cannot disable the SuccessCriteriaMet=True condition"))
    if "Complete" in was and "SuccessCriteriaMet" not in was and "SuccessCriteriaMet" in true:
        errors.append(_refused("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"))
    return errors


def _refused(why: str) -> field.FieldError:
    """Upstream hides the conditions here."""
    return field.FieldError(str(_CONDITIONS), "FieldValueInvalid", f"Invalid value: {why}")
