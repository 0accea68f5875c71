"""CronJobs (`pkg/controller/cronjob`): Jobs at the times of a schedule.

Only the latest missed time is made up for, and only within `startingDeadlineSeconds`. A Job's name is made of the CronJob's
and its scheduled minute, so that a time is never run twice. Schedules are read with croniter in the CronJob's time zone.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.pod import controller_of, controller_uid
from kubepy.api.resource import CRON_JOBS, JOBS
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.base.flag import duration
from kubepy.base.metrics import exponential, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import join_key, split_key
from kubepy.controllers.kit.adoption import index_by_controller, owner_reference
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

TIMESTAMP = "batch.kubernetes.io/cronjob-scheduled-timestamp"
SKEW = histogram("cronjob_controller_job_creation_skew_duration_seconds",
                 "Time between when a cronjob is scheduled to be run, and when the corresponding job is created", (), exponential(1, 2, 10))
MANY = 100


@dataclass(slots=True)
class Plan:
    run: float | None = None
    """The scheduled time to start a Job for."""
    missed: int = 0
    too_late: bool = False
    """The time has passed its deadline."""
    wait: float | None = None
    """Seconds until the next time."""
    replace: list[Object] = field(default_factory=list)
    """Running Jobs to delete first."""
    blocked: bool = False
    """A running Job forbids another."""


class BadSchedule(ValueError):
    """The schedule or its time zone cannot be read; `reason` is the event's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def times(owner: Object, now: float) -> tuple[float | None, float, int]:
    """(the latest scheduled time since the last run that has come, the next one, how many have come). Raises BadSchedule."""
    spec = owner["spec"]
    zone: tzinfo = UTC
    if spec.get("timeZone"):
        try:
            zone = ZoneInfo(spec["timeZone"])
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise BadSchedule("UnknownTimeZone", f'invalid timeZone: "{spec["timeZone"]}": unknown time zone {spec["timeZone"]}') from error
    status = owner.get("status") or {}
    start = parse_time(status.get("lastScheduleTime") or owner["metadata"]["creationTimestamp"])
    deadline = spec.get("startingDeadlineSeconds")
    try:
        if spec["schedule"].startswith("@every "):
            return _every(duration(spec["schedule"].removeprefix("@every ")), start, now)
        if deadline is not None:
            start = max(start, now - deadline)
        series = _series(spec["schedule"], zone, start)
        latest, count = None, 0
        upcoming = next(series)
        while upcoming <= now:
            latest, count = upcoming, count + 1
            if count >= MANY:  # long asleep: look back from now instead of stepping through everything
                latest = next(_series(spec["schedule"], zone, now + 1, back=True))
                upcoming = next(_series(spec["schedule"], zone, now))
                break
            upcoming = next(series)
        return latest, upcoming, count
    except (ValueError, KeyError) as error:
        raise BadSchedule("UnparseableSchedule", f'unparseable schedule: "{spec["schedule"]}" : {error}') from error


def _series(schedule: str, zone: tzinfo, start: float, *, back: bool = False) -> Iterator[float]:
    """The times after (or before) a moment. One that a change to summer time leaves out is left out, not made up for an hour later."""
    series = croniter(schedule, datetime.fromtimestamp(start, zone), ret_type=float)
    while True:
        moment = float(series.get_prev() if back else series.get_next())
        local, before = datetime.fromtimestamp(moment, zone), datetime.fromtimestamp(moment - 60, zone)
        if local.utcoffset() == before.utcoffset() or croniter.match(schedule, local.replace(tzinfo=None)):
            yield moment


def _every(period: float, start: float, now: float) -> tuple[float | None, float, int]:
    """The times of `@every`: whole seconds, at least one, counted from the last run (or from the beginning)."""
    step, start = max(float(int(period)), 1.0), float(int(start))
    count = max(int((now - start) // step), 0)
    return (start + count * step if count else None), start + (count + 1) * step, count


def plan(owner: Object, jobs: Sequence[Object], now: float) -> Plan:
    spec = owner["spec"]
    if owner["metadata"].get("deletionTimestamp") is not None or spec.get("suspend"):
        return Plan()
    latest, upcoming, missed = times(owner, now)
    found = Plan(missed=missed, wait=max(upcoming - now, 0.0))
    if latest is None:
        return found
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and latest + deadline < now:
        found.too_late = True
        return found
    # the run's own Job may be there already, when its note in the status was lost: it is neither in the way nor replaced
    running = [job for job in jobs if not finished(job) and job["metadata"]["name"] != job_name(owner, latest)]
    policy = spec.get("concurrencyPolicy") or "Allow"
    if running and policy == "Forbid":
        found.blocked = True
        return found
    found.run = latest
    if policy == "Replace":
        found.replace = running
    return found


def finished(job: Object) -> str:
    """Complete, Failed, or "" for a Job that has not ended."""
    return next((item["type"] for item in (job.get("status") or {}).get("conditions") or ()
                 if item["type"] in ("Complete", "Failed") and item["status"] == "True"), "")


def surplus(owner: Object, jobs: Sequence[Object]) -> list[Object]:
    """Ended Jobs beyond the history limits, oldest first."""
    found = []
    for type, name, default in (("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)):
        limit = owner["spec"].get(name)
        ended = sorted((job for job in jobs if finished(job) == type),
                       key=lambda job: ((job.get("status") or {}).get("startTime") or "", job["metadata"]["name"]))
        found += ended[: max(len(ended) - (default if limit is None else limit), 0)]
    return found


def job_name(owner: Object, moment: float) -> str:
    return f"{owner['metadata']['name']}-{int(moment) // 60}"


def build_job(owner: Object, moment: float) -> Object:
    metadata, template = owner["metadata"], owner["spec"]["jobTemplate"]
    source = template.get("metadata") or {}
    zone = owner["spec"].get("timeZone")
    stamp = datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat().replace("+00:00", "Z") if zone else format_time(moment)
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": job_name(owner, moment), "namespace": metadata["namespace"],
                     "labels": dict(source.get("labels") or {}),
                     "annotations": {**(source.get("annotations") or {}), TIMESTAMP: stamp},
                     "ownerReferences": [owner_reference(owner, CRON_JOBS)]},
        "spec": template["spec"]}


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for("cronjob-controller")
        self._recorder = env.recorder("cronjob-controller", "cronjob-controller")
        self._owners = env.informers.informer(CRON_JOBS).lister
        self._jobs = env.informers.informer(JOBS).lister
        index_by_controller(self._jobs)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        owner = self._owners.get(name, namespace)
        if owner is None:
            return None
        jobs = self._jobs.by_index("controller", owner["metadata"]["uid"])
        status = dict(owner.get("status") or {})
        await self._follow(owner, status, jobs)
        now = self._clock.now()
        try:
            todo = plan(owner, jobs, now)
        except BadSchedule as error:
            self._recorder.event(owner, "Warning", error.reason, str(error))
            await self._write(owner, status)
            return None
        if todo.missed >= MANY:
            self._recorder.event(owner, "Warning", "TooManyMissedTimes", "too many missed start times. Set or decrease "
                                 ".spec.startingDeadlineSeconds or check clock skew")
        if todo.too_late:
            self._recorder.event(owner, "Warning", "MissSchedule", f"Missed scheduled time to start a job: {format_time(now)}")
        if todo.blocked:
            self._recorder.event(owner, "Normal", "JobAlreadyActive", "Not starting job because prior execution is running and concurrency "
                                 "policy is Forbid")
        for job in todo.replace:
            await self._delete(owner, status, job)
        if todo.run is not None:
            await self._start(owner, status, todo.run)
        for job in surplus(owner, jobs):
            await self._delete(owner, status, job)
        await self._write(owner, status)
        return None if todo.wait is None else todo.wait + 0.1

    async def _follow(self, owner: Object, status: Object, jobs: Sequence[Object]) -> None:
        """Brings the list of active Jobs up to date, and tells which have ended."""
        active = {ref["uid"]: ref for ref in status.get("active") or ()}
        present = {job["metadata"]["uid"]: job for job in jobs}
        for uid, job in present.items():
            ended = finished(job)
            name = job["metadata"]["name"]
            if uid in active and ended:
                del active[uid]
                self._recorder.event(owner, "Normal", "SawCompletedJob", f"Saw completed job: {name}, condition: {ended}")
            elif uid not in active and not ended:
                self._recorder.event(owner, "Warning", "UnexpectedJob", f"Saw a job that the controller did not create or forgot: {name}")
            completed = (job.get("status") or {}).get("completionTime")
            if ended == "Complete" and completed and completed > (status.get("lastSuccessfulTime") or ""):
                status["lastSuccessfulTime"] = completed
        for uid in [uid for uid in active if uid not in present]:
            ref = active[uid]
            try:
                if (await self._client.get(JOBS, ref["name"], ref["namespace"]))["metadata"]["uid"] == uid:
                    continue
                raise NotFound("it is another one now")
            except NotFound:
                self._recorder.event(owner, "Normal", "MissingJob", f"Active job went missing: {ref['name']}")
                del active[uid]
        status["active"] = list(active.values())

    async def _start(self, owner: Object, status: Object, moment: float) -> None:
        wanted = build_job(owner, moment)
        try:
            job = await self._client.create(JOBS, wanted)
            SKEW.observe(max(self._clock.now() - moment, 0.0))
        except AlreadyExists:
            job = await self._client.get(JOBS, wanted["metadata"]["name"], wanted["metadata"]["namespace"])
            if controller_uid(job) != owner["metadata"]["uid"]:
                raise
        except ApiError as error:
            if not is_namespace_terminating(error):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        else:
            self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created job {job['metadata']['name']}")
        metadata = job["metadata"]
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "namespace": metadata["namespace"],
                     "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        if not finished(job) and all(ref["uid"] != metadata["uid"] for ref in status.get("active") or ()):
            status["active"] = [*(status.get("active") or ()), reference]
        status["lastScheduleTime"] = format_time(moment)

    async def _delete(self, owner: Object, status: Object, job: Object) -> None:
        metadata = job["metadata"]
        ref_uid = metadata["uid"]
        status["active"] = [ref for ref in status.get("active") or () if ref["uid"] != ref_uid]
        try:
            await self._client.delete(JOBS, metadata["name"], metadata["namespace"], propagation="Background", uid=ref_uid)
        except NotFound:
            return
        except ApiError as error:
            self._recorder.event(owner, "Warning", "FailedDelete", f"Deleted job: {error}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted job {metadata['name']}")

    async def _write(self, owner: Object, status: Object) -> None:
        status = {key: value for key, value in status.items() if value}
        if status != (owner.get("status") or {}):
            try:
                await self._client.update(CRON_JOBS, {**owner, "status": status}, subresource="status")
            except NotFound:
                return

    def keys(self, job: Object) -> Sequence[str]:
        reference = controller_of(job)
        return (join_key(job["metadata"]["namespace"], reference["name"]),) if reference and reference["kind"] == "CronJob" else ()


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (Watch(CRON_JOBS), Watch(JOBS, keys=reconciler.keys))
    return Controller("cronjob", reconciler.reconcile, watches, workers=env.options.concurrency("cron-job", 5))
