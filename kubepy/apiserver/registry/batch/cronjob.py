"""CronJob: Jobs by the clock (`pkg/registry/batch/cronjob`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CRON_JOBS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.batch.job_validation import job_spec, job_warnings
from kubepy.apiserver.registry.batch.schedule import schedule_problem, zone_problem
from kubepy.apiserver.registry.columns import AGE, NAME, aged, at, column, containers
from kubepy.apiserver.registry.columns import selector as selector_text
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_IN_SCHEDULE = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


class CronJobStrategy(Strategy):
    pod_spec = ("spec", "jobTemplate", "spec", "template", "spec")
    has_status = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("concurrencyPolicy", "Allow")
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        default_template(spec.setdefault("jobTemplate", {}).setdefault("spec", {}).setdefault("template", {}))

    def validate(self, context: Context, obj: Object) -> Errors:
        title = at(obj, "metadata.name", "")
        long = [field.invalid(Path("metadata.name"), title, "must be no more than 52 characters")] if len(title) > 52 else []
        return _spec(obj.get("spec") or {}, None) + long

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return _spec(obj.get("spec") or {}, old.get("spec") or {})

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        path = "spec.jobTemplate.spec"
        found = [] if old is not None else _name_warnings(at(obj, "metadata.name", ""))
        found += job_warnings(at(obj, path, {}), None if old is None else at(old, path, {}), Path(path))
        if "TZ" in at(obj, "spec.schedule", ""):
            found.append("CRON_TZ or TZ used in spec.schedule is not officially supported, see https://kep.k8s.io/3140 for more details")
        return found


def _name_warnings(title: str) -> list[str]:
    complaints = name.label(title) if title else []
    return [f"metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: "
            f"[{' '.join(complaints)}]"] if complaints else []


def _spec(spec: Object, old: Object | None) -> Errors:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    errors: Errors = []
    if not schedule:
        errors.append(field.required(_SPEC.child("schedule")))
    else:
        errors += _schedule(schedule, zone, allowed="TZ" in (old or {}).get("schedule", ""))
    errors += check.non_negative(spec.get("startingDeadlineSeconds"), _SPEC.child("startingDeadlineSeconds"))
    if zone is not None and (old is None or old.get("timeZone") != zone):
        errors += _zone(zone)
    errors += check.need_one_of(spec.get("concurrencyPolicy"), _SPEC.child("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    errors += job_template(spec.get("jobTemplate") or {}, _SPEC.child("jobTemplate"))
    for key in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        errors += check.non_negative(spec.get(key), _SPEC.child(key))
    return errors


def _schedule(schedule: str, zone: str | None, *, allowed: bool) -> Errors:
    """A zone in the schedule is allowed where there was one before."""
    path = _SPEC.child("schedule")
    problem = schedule_problem(schedule)
    errors = [field.invalid(path, schedule, problem)] if problem else []
    if allowed and "TZ" in schedule and zone is not None:
        errors.append(field.invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
    elif not allowed and "TZ" in schedule:
        errors.append(field.invalid(path, schedule, _IN_SCHEDULE))
    return errors


def _zone(zone: str) -> Errors:
    path = _SPEC.child("timeZone")
    if not zone:
        return [field.invalid(path, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        return [field.invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")]
    problem = zone_problem(zone)
    return [field.invalid(path, zone, problem)] if problem else []


def job_template(template: Object, path: Path) -> Errors:
    """ValidateJobTemplateSpec."""
    spec = template.get("spec") or {}
    at_spec = path.child("spec")
    errors = job_spec(spec, at_spec)
    if spec.get("selector") is not None:
        errors.append(field.invalid(at_spec.child("selector"), check.selector_value(spec["selector"]), "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        errors.append(field.not_supported(at_spec.child("manualSelector"), True, ("nil", "false")))
    return errors


KIND = Kind(
    CRON_JOBS,
    "cronjob",
    CronJobStrategy(),
    columns=(
        NAME,
        column("Schedule", "string", "=batch.v1.CronJobSpec.schedule", lambda obj: at(obj, "spec.schedule", "")),
        column("Timezone", "string", "=batch.v1.CronJobSpec.timeZone", lambda obj: at(obj, "spec.timeZone", "<none>")),
        column("Suspend", "boolean", "=batch.v1.CronJobSpec.suspend", lambda obj: str(bool(at(obj, "spec.suspend")))),
        column("Active", "integer", "=batch.v1.CronJobStatus.active", lambda obj: len(at(obj, "status.active", []))),
        aged("Last Schedule", "=batch.v1.CronJobStatus.lastScheduleTime", lambda obj: at(obj, "status.lastScheduleTime"), missing="<none>"),
        AGE,
        *containers("spec.jobTemplate.spec.template"),
        column("Selector", "string", "=batch.v1.JobSpec.selector", lambda obj: selector_text(at(obj, "spec.jobTemplate.spec.selector")), 1),
    ),
    short_names=("cj",),
    categories=("all",),
    subresources=(STATUS,),
)
