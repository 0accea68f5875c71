"""Job: pods that run to completion.

Follows `pkg/registry/batch/job`: selector and labels are generated from the UID unless `manualSelector` is set; deletion orphans the pods
unless told otherwise, with a warning.
"""
from __future__ import annotations

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.resource import JOBS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.apps.template import matches
from kubepy.apiserver.registry.batch.job_status import job_status
from kubepy.apiserver.registry.batch.job_validation import SPEC, job_spec, job_warnings, spec_update
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, containers, duration, epoch
from kubepy.apiserver.registry.columns import selector as selector_text
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.kind import STATUS, Column, Kind, Strategy
from kubepy.apiserver.request import Context

_UID, _NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"


class JobStrategy(Strategy):
    pod_spec = ("spec", "template", "spec")
    has_status = True
    tracks_generation = True
    default_propagation = "Orphan"

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = 1
        spec.setdefault("parallelism", 1)
        spec.setdefault("backoffLimit", check.MAX_INT32 if spec.get("backoffLimitPerIndex") is not None else 6)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        spec.setdefault("manualSelector", False)
        policy = spec.get("podFailurePolicy")
        spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed")
        for rule in (policy or {}).get("rules") or ():
            for pattern in rule.get("onPodConditions") or ():
                pattern.setdefault("status", "True")
        template = spec.setdefault("template", {})
        default_template(template)
        _take_labels(obj)

    def prepare_create(self, context: Context, obj: Object) -> None:
        _generate_selector(obj)

    def validate(self, context: Context, obj: Object) -> Errors:
        return _generated(obj) + _spec(obj.get("spec") or {}) + _pod_names(obj)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = self.validate(context, obj) + _spec(spec)  # upstream looks at the spec twice
        return errors + spec_update(spec, old.get("spec") or {}, old.get("status") or {})

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return job_status(obj, old)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = []
        title = at(obj, "metadata.name", "")
        if old is None and title and (complaints := name.label(title)):
            found.append("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is "
                         f"recommended: [{' '.join(complaints)}]")
        return found + job_warnings(obj.get("spec") or {}, None if old is None else old.get("spec") or {}, SPEC)


def _spec(spec: Object) -> Errors:
    """ValidateJobSpec."""
    errors, chosen = job_spec(spec, SPEC), spec.get("selector")
    if chosen is None:
        return [*errors, field.required(SPEC.child("selector"))]
    return errors + selector.validate_object(chosen, SPEC.child("selector")) + matches(chosen, spec.get("template") or {}, SPEC)


def _pod_names(obj: Object) -> Errors:
    """Pods of an Indexed Job are called after it and their index."""
    title, completions = at(obj, "metadata.name", ""), at(obj, "spec.completions", 0)
    last = f"{title}-{completions - 1}"
    if at(obj, "spec.completionMode") != "Indexed" or completions <= 0 or not name.label(last):
        return []
    return [field.invalid(Path("metadata.name"), title, f"will not able to create pod with invalid DNS label: {last}")]


def _generate_selector(obj: Object) -> None:
    spec, metadata = obj["spec"], obj["metadata"]
    template = spec.setdefault("template", {})
    if not spec.get("manualSelector"):
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        shared = metadata.get("labels") == labels
        uid, title = metadata.get("uid", ""), metadata.get("name", "")
        for key, value in ((_UID, uid), ("controller-uid", uid), (_NAME, title), ("job-name", title)):
            labels.setdefault(key, value)  # another value is refused later
        chosen = spec.get("selector")
        if chosen is None:
            chosen = spec["selector"] = {}
        chosen.setdefault("matchLabels", {}).setdefault(_UID, uid)
        if shared or not metadata.get("labels"):
            metadata["labels"] = dict(labels)


def _take_labels(obj: Object) -> None:
    labels = (obj["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _generated(obj: Object) -> Errors:
    """ValidateGeneratedSelector: what was generated is there, unaltered."""
    spec, metadata = obj.get("spec") or {}, obj.get("metadata") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    errors: Errors = []
    labels = at(spec, "template.metadata.labels", {})
    uid = metadata.get("uid", "")
    path = SPEC.child("template", "metadata", "labels")
    title = metadata.get("name", "")
    for key, expected in ((_UID, uid), (_NAME, title)):
        if key not in labels:
            errors.append(field.required(path.key(key), f"must be '{expected}'"))
        elif labels[key] != expected:
            errors.append(field.invalid(path.key(key), labels, f"must be '{expected}'"))
    chosen = spec["selector"]
    expected_labels = {_UID: uid, "controller-uid": uid, _NAME: title, "job-name": title}
    if not selector.validate_object(chosen, path) and not selector.from_object(chosen).matches(expected_labels):
        errors.append(field.invalid(SPEC.child("selector"), check.selector_value(chosen), "`selector` not auto-generated"))
    return errors


def _status(obj: Object) -> str:
    true = {condition.get("type") for condition in at(obj, "status.conditions", []) if condition.get("status") == "True"}
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if kind in true:
            return shown
    if at(obj, "metadata.deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if kind in true:
            return kind
    return "Running"


def _completions(obj: Object) -> str:
    done, wanted, parallel = at(obj, "status.succeeded", 0), at(obj, "spec.completions"), at(obj, "spec.parallelism", 0)
    if wanted is not None:
        return f"{done}/{wanted}"
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _duration(obj: Object, now: float) -> str:
    start, end = epoch(at(obj, "status.startTime")), epoch(at(obj, "status.completionTime"))
    if start is None:
        return ""
    return duration((now if end is None else end) - start)


KIND = Kind(
    JOBS,
    "job",
    JobStrategy(),
    columns=(
        NAME,
        column("Status", "string", "Status of the job.", _status),
        column("Completions", "string", "=batch.v1.JobStatus.succeeded", _completions),
        Column("Duration", "string", "Time required to complete the job.", _duration),
        AGE,
        *containers("spec.template"),
        column("Selector", "string", "=batch.v1.JobSpec.selector", lambda obj: selector_text(at(obj, "spec.selector")), 1),
    ),
    categories=("all",),
    selectable={"status.successful": lambda obj: str(at(obj, "status.succeeded", 0))},
    unknown_field='field label "{field}" not supported for Job',
    subresources=(STATUS,),
)
