"""Validation of a Job's status: counters, conditions that must come in order, times (`ValidateJobStatus`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

_STATUS = Path("status")
_CONDITIONS = _STATUS.child("conditions")
_COUNTS = ("active", "ready", "succeeded", "failed", "terminating")


def job_status(obj: Object, old: Object) -> Errors:
    status, before = obj.get("status") or {}, old.get("status") or {}
    is_true = {condition.get("type") for condition in status.get("conditions") or () if condition.get("status") == "True"}
    was_true = {condition.get("type") for condition in before.get("conditions") or () if condition.get("status") == "True"}
    errors = check.counts(status, _STATUS, *_COUNTS)
    errors += _consistent(status, is_true)
    errors += _ordered(is_true)
    errors += _finished(status, is_true)
    errors += _changes(status, before, is_true, was_true)
    return errors


def _consistent(status: Object, true: set[str | None]) -> Errors:
    errors: Errors = []
    completed = status.get("completionTime")
    if "Complete" in true and completed is None:
        errors.append(field.required(_STATUS.child("completionTime"), "completionTime is required for Complete jobs"))
    if "Complete" not in true and completed is not None:
        errors.append(field.invalid(_STATUS.child("completionTime"), completed,
                                    "cannot set completionTime when there is no Complete=True condition"))
    return errors


def _ordered(true: set[str | None]) -> Errors:
    errors: Errors = []
    if {"Complete", "Failed"} <= true:
        errors.append(_refused("cannot set Complete=True and Failed=true conditions"))
    if {"Complete", "FailureTarget"} <= true:
        errors.append(_refused("cannot set Complete=True and FailureTarget=true conditions"))
    if {"SuccessCriteriaMet", "Failed"} <= true:
        errors.append(_refused("cannot set SuccessCriteriaMet=True and Failed=true conditions"))
    if {"SuccessCriteriaMet", "FailureTarget"} <= true:
        errors.append(_refused("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"))
    if "Failed" in true and "FailureTarget" not in true:
        errors.append(_refused("cannot set Failed=True condition without the FailureTarget=true condition"))
    if "Complete" in true and "SuccessCriteriaMet" not in true:
        errors.append(_refused("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"))
    return errors


def _finished(status: Object, true: set[str | None]) -> Errors:
    if not true & {"Complete", "Failed"}:
        return []
    errors: Errors = []
    for key in ("active", "ready", "terminating"):
        if status.get(key):
            errors.append(field.invalid(_STATUS.child(key), status[key], f"{key}>0 is invalid for finished job"))
    if status.get("startTime") is None:
        errors.append(field.required(_STATUS.child("startTime"), "startTime is required for finished job"))
    return errors


def _changes(status: Object, before: Object, true: set[str | None], was: set[str | None]) -> Errors:
    errors: Errors = []
    for kind in ("Complete", "Failed"):
        if kind in was and kind not in true:
            errors.append(_refused(f"cannot disable the terminal {kind}=True condition"))
    for kind in ("FailureTarget", "SuccessCriteriaMet"):
        if kind in was and kind not in true:
            errors.append(_refused(f"cannot disable the {kind}=True condition"))
    return errors


def _refused(why: str) -> field.FieldError:
    """Upstream hides the conditions here."""
    return field.FieldError(str(_CONDITIONS), "FieldValueInvalid", f"Invalid value: {why}")
