"""Validation of Jobs: the spec, also as a CronJob's template, and how it may change (`pkg/apis/batch/validation`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.batch.indexes import count_indexes
from kubepy.apiserver.registry.core.podspec_validation import pod_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings

SPEC = Path("spec")
_MAX_INDEXED = 100_000
_MANY_PARALLEL = 10_000
_MAX_INDEXES = 64 * 1024
"""Characters of a list of indexes."""
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_STATUSES = ("False", "True", "Unknown")
_DIRECTIVES = ("nodeSelector", "tolerations", "schedulingGates")


def job_spec(spec: Object, path: Path) -> Errors:
    """validateJobSpec."""
    errors: Errors = []
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex",
                "maxFailedIndexes"):
        errors += check.non_negative(spec.get(key), path.child(key))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(field.required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        errors += _managed_by(spec["managedBy"], path.child("managedBy"))
    errors += _completion_mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        errors += _failure_policy(spec, path.child("podFailurePolicy"))
    if spec.get("successPolicy") is not None:
        errors += _success_policy(spec, path.child("successPolicy"))
    policy = spec.get("podReplacementPolicy")
    if policy is not None:
        allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
        errors += check.one_of(policy, path.child("podReplacementPolicy"), allowed)
    template = spec.get("template") or {}
    errors += pod_template(template, path.child("template"))
    restart = (template.get("spec") or {}).get("restartPolicy", "")
    at = path.child("template", "spec", "restartPolicy")
    if restart in ("", "Always"):
        errors.append(field.required(at, 'valid values: "OnFailure", "Never"'))
    elif restart not in ("OnFailure", "Never"):
        errors.append(field.not_supported(at, restart, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and restart != "Never":
        errors.append(field.invalid(at, restart, 'only "Never" is supported when podFailurePolicy is specified'))
    return errors


def _managed_by(value: str, path: Path) -> Errors:
    errors = [field.invalid(path, part, message) for part, message in name.domain_prefixed_path(value)] if value else [field.required(path)]
    return errors + ([field.too_long(path, 63)] if len(value) > 63 else [])


def _completion_mode(spec: Object, path: Path) -> Errors:
    mode = spec.get("completionMode")
    if mode == "Indexed":
        return _indexed(spec, path)
    errors = [] if mode in (None, "NonIndexed") else [field.not_supported(path.child("completionMode"), mode, ("NonIndexed", "Indexed"))]
    if mode in (None, "NonIndexed"):
        errors += [field.invalid(path.child(key), spec[key], "requires indexed completion mode")
                   for key in ("backoffLimitPerIndex", "maxFailedIndexes") if spec.get(key) is not None]
    return errors


def _indexed(spec: Object, path: Path) -> Errors:
    """Limits of Indexed Jobs: tighter ones for many indexes that are retried one by one."""
    completions, parallelism, failed = (spec.get(key) for key in ("completions", "parallelism", "maxFailedIndexes"))
    errors: Errors = []
    if completions is None:
        errors.append(field.required(path.child("completions"), "when completion mode is Indexed"))
    if (parallelism or 0) > _MAX_INDEXED:
        errors.append(field.invalid(path.child("parallelism"), parallelism,
                                    f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"))
    at_failed = path.child("maxFailedIndexes")
    if completions is not None and failed is not None and failed > completions:
        errors.append(field.invalid(at_failed, failed, "must be less than or equal to completions"))
    if (failed or 0) > _MAX_INDEXED:
        errors.append(field.invalid(at_failed, failed, f"must be less than or equal to {_MAX_INDEXED}"))
    if (completions or 0) > _MAX_INDEXED and spec.get("backoffLimitPerIndex") is not None:
        words = f"must be less than or equal to %d when completions are above {_MAX_INDEXED} and used with backoff limit per index"
        if failed is None:
            errors.append(field.required(at_failed, f"must be specified when completions is above {_MAX_INDEXED}"))
        if (parallelism or 0) > _MANY_PARALLEL:
            errors.append(field.invalid(path.child("parallelism"), parallelism, words % _MANY_PARALLEL))
        if (failed or 0) > _MANY_PARALLEL:
            errors.append(field.invalid(at_failed, failed, words % _MANY_PARALLEL))
    return errors


def _failure_policy(spec: Object, path: Path) -> Errors:
    rules = spec["podFailurePolicy"].get("rules") or []
    errors: Errors = []
    if len(rules) > 20:
        errors.append(field.too_many(path.child("rules"), len(rules), 20))
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {item.get("name") for key in ("initContainers", "containers") for item in pod.get(key) or ()}
    for position, rule in enumerate(rules):
        errors += _failure_rule(rule, spec, containers, path.child("rules").index(position))
    return errors


def _failure_rule(rule: Object, spec: Object, containers: set[str | None], path: Path) -> Errors:
    errors: Errors = []
    action, codes, conditions = rule.get("action", ""), rule.get("onExitCodes"), rule.get("onPodConditions") or []
    errors += check.need_one_of(action, path.child("action"), _ACTIONS, f"valid values: {_quoted(_ACTIONS)}")
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        errors.append(field.invalid(path.child("action"), action, "requires the backoffLimitPerIndex to be set"))
    if codes is not None:
        errors += _exit_codes(codes, containers, path.child("onExitCodes"))
    if len(conditions) > 20:
        errors.append(field.too_many(path.child("onPodConditions"), len(conditions), 20))
    for position, pattern in enumerate(conditions):
        at = path.child("onPodConditions").index(position)
        errors += check.named(name.qualified, pattern.get("type", ""), at.child("type"))
        errors += check.need_one_of(pattern.get("status"), at.child("status"), _STATUSES, f"valid values: {_quoted(_STATUSES)}")
    if codes is not None and conditions:
        errors.append(_hidden(path, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        errors.append(_hidden(path, "specifying one of OnExitCodes and OnPodConditions is required"))
    return errors


def _exit_codes(codes: Object, containers: set[str | None], path: Path) -> Errors:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    errors = check.need_one_of(operator, path.child("operator"), ("In", "NotIn"), f"valid values: {_quoted(('In', 'NotIn'))}")
    if codes.get("containerName") is not None and codes["containerName"] not in containers:
        errors.append(field.invalid(path.child("containerName"), codes["containerName"],
                                    "must be one of the container or initContainer names in the pod template"))
    at = path.child("values")
    if not values:
        errors.append(field.invalid(at, values, "at least one value is required"))
    elif len(values) > 255:
        errors.append(field.too_many(at, len(values), 255))
    seen: set[int] = set()
    for position, code in enumerate(values):
        if operator == "In" and code == 0:
            errors.append(field.invalid(at.index(position), code, "must not be 0 for the In operator"))
        if code in seen:
            errors.append(field.duplicate(at.index(position), code))
        seen.add(code)
    if values != sorted(values):
        errors.append(field.invalid(at, values, "must be ordered"))
    return errors


def _success_policy(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    if spec.get("completionMode") != "Indexed":
        return [field.invalid(path, _success_struct(spec["successPolicy"]), "requires indexed completion mode")]
    rules = spec["successPolicy"].get("rules") or []
    if not rules:
        errors.append(field.required(path.child("rules"), "at least one rules must be specified when the successPolicy is specified"))
    if len(rules) > 20:
        errors.append(field.too_many(path.child("rules"), len(rules), 20))
    for position, rule in enumerate(rules):
        at = path.child("rules").index(position)
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            errors.append(field.required(at, "at least one of succeededCount or succeededIndexes must be specified"))
        errors += _succeeded(rule, spec.get("completions"), at)
    return errors


def _succeeded(rule: Object, completions: int | None, path: Path) -> Errors:
    errors: Errors = []
    text, count, total = rule.get("succeededIndexes"), rule.get("succeededCount"), None
    if text is not None:
        at = path.child("succeededIndexes")
        if len(text) > _MAX_INDEXES:
            errors.append(field.too_long(at, _MAX_INDEXES))
        try:
            total = count_indexes(text, completions or 0)
        except ValueError as error:
            errors.append(field.invalid(at, text, f"error parsing succeededIndexes: {error}"))
            total = 0
    at = path.child("succeededCount")
    errors += check.non_negative(count, at)
    if count is not None:
        if completions is not None and count > completions:
            errors.append(field.invalid(at, count, f"must be less than or equal to {completions} (the number of specified completions)"))
        if total is not None and count > total:
            errors.append(field.invalid(at, count, f"must be less than or equal to {total} (the number of indexes in the specified "
                                                   "succeededIndexes field)"))
    return errors


def _hidden(path: Path, why: str) -> field.FieldError:
    """Upstream does not show the value here."""
    return field.FieldError(str(path), "FieldValueInvalid", f"Invalid value: {why}")


def _success_struct(policy: Object) -> field.Struct:
    return field.Struct(Rules=[field.Struct(SucceededIndexes=rule.get("succeededIndexes"), SucceededCount=rule.get("succeededCount"))
                               for rule in policy.get("rules") or ()] or None)


def job_warnings(spec: Object, old: Object | None, path: Path) -> list[str]:
    """WarningsForJobSpec."""
    found = []
    if spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > _MAX_INDEXED \
            and (spec.get("parallelism") or 0) > _MANY_PARALLEL:
        found.append("In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might "
                     "not be able to track completedIndexes when a big number of indexes fail")
    template = spec.get("template") or {}
    return found + template_warnings(template, None if old is None else old.get("template") or {}, path.child("template"))


def spec_update(new: Object, old: Object, status: Object) -> Errors:
    """ValidateJobSpecUpdate, after the new spec was validated."""
    errors = _completions(new, old)
    errors += check.immutable_selector(new.get("selector"), old.get("selector"), SPEC.child("selector"))
    errors += _template(new, old, status)
    for key, shown in (("completionMode", None), ("podFailurePolicy", "Rules"), ("backoffLimitPerIndex", None), ("managedBy", None),
                       ("successPolicy", "Rules")):
        if new.get(key) != old.get(key):
            value = new.get(key)
            if shown and value is not None:
                value = field.Struct({shown: value.get("rules") or []})
            errors.append(field.invalid(SPEC.child(key), value, check.IMMUTABLE))
    return errors


def _completions(new: Object, old: Object) -> Errors:
    wanted, had = new.get("completions"), old.get("completions")
    if wanted == had:
        return []
    if new.get("completionMode") != "Indexed":
        return [field.invalid(SPEC.child("completions"), wanted, check.IMMUTABLE)]
    if wanted is not None and wanted != new.get("parallelism"):
        return [field.invalid(SPEC.child("completions"), wanted, "can only be modified in tandem with spec.parallelism")]
    return []


def _template(new: Object, old: Object, status: Object) -> Errors:
    """The template is fixed, but for scheduling and resources of a suspended job that has not started."""
    template, before = new.get("template") or {}, old.get("template") or {}
    path = SPEC.child("template")
    if old.get("suspend") and not status.get("startTime"):
        path = path.child("spec")
        template = {**template, "metadata": {**(template.get("metadata") or {})}, "spec": {**(template.get("spec") or {})}}
        for key in ("labels", "annotations"):
            _restore(template["metadata"], before.get("metadata") or {}, key)
        old_pod = before.get("spec") or {}
        for key in (*_DIRECTIVES, "affinity"):
            _restore(template["spec"], old_pod, key)
        for key in ("containers", "initContainers"):
            if len(template["spec"].get(key) or ()) == len(old_pod.get(key) or ()) and template["spec"].get(key):
                template["spec"][key] = [{**container, "resources": was.get("resources")}
                                         for container, was in zip(template["spec"][key], old_pod[key], strict=True)]
    return [] if template == before else [field.invalid(path, new.get("template"), check.IMMUTABLE)]


def _restore(target: Object, source: Object, key: str) -> None:
    target.pop(key, None)
    if key in source:
        target[key] = source[key]


def _quoted(values: tuple[str, ...]) -> str:
    return f"[{' '.join(f'{chr(34)}{value}{chr(34)}' for value in values)}]"
