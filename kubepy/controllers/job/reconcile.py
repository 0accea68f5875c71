"""One pass over a Job: count what has ended, decide, create or delete, report.

Known difference: an index's failures are read from the failed pods that are still there (upstream holds the last one back until
its replacement is made).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kubepy.api.errors import ApiError, Invalid, NotFound
from kubepy.api.pod import controller_of, phase
from kubepy.api.resource import JOBS, PODS
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.job import index, metric, plan, policy
from kubepy.controllers.job.snapshot import FINALIZER, Snapshot, has_failed, is_indexed, take
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.adoption import candidates, claim
from kubepy.controllers.kit.batch import at_once
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.owned import OwnedPods
from kubepy.controllers.kit.pod_control import PodControl, pod_from_template

OURSELVES = "kubernetes.io/job-controller"
News = list[tuple[Literal["Normal", "Warning"], str, str]]
"""Events to record once the status that they tell of is written."""


@dataclass(slots=True)
class _Streak:
    """Failures since the last success."""

    count: int = 0
    last: float = 0.0


def is_finished(job: Object) -> bool:
    return any(item["type"] in ("Complete", "Failed") and item["status"] == "True"
               for item in (job.get("status") or {}).get("conditions") or ())


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for("job-controller")
        self._recorder = env.recorder("job-controller", "job-controller")
        self._jobs = env.informers.informer(JOBS).lister
        self._pods = env.informers.informer(PODS).lister
        self.owned = OwnedPods(JOBS, self._jobs, self._pods, env.clock)
        self._control = PodControl(self._client, self._recorder)
        self._gone = ""  # the UID of the Job that was last seen to be gone: its other pods need not ask again
        self._released: set[str] = set()  # UIDs of pods whose finalizer we removed and that the cache still shows with it
        self._streaks: dict[str, _Streak] = {}

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        job = self._jobs.get(name, namespace)
        if job is None:
            self.owned.expectations.forget(key)
            self._streaks.pop(key, None)
            return None
        if job["spec"].get("managedBy", OURSELVES) != OURSELVES:
            return None
        began, result = self._clock.monotonic(), "error"
        try:
            again = await self._pass(key, job)
            result = "success"
            return again
        finally:
            labels = metric.mode(job), result, "reconciling"
            metric.SYNCS.labels(*labels).inc()
            metric.DURATION.labels(*labels).observe(self._clock.monotonic() - began)

    async def _pass(self, key: str, job: Object) -> float | None:
        satisfied = self.owned.expectations.satisfied(key)
        pods = await claim(self._client, job, JOBS, from_object(job["spec"].get("selector")), candidates(self._pods, job), PODS)
        found = take(job, pods, self._released)
        if is_finished(job):
            await self._release([*found.release, *found.new_failed, *found.new_succeeded, *found.ignored])
            return None
        now = self._clock.now()
        status = self._counted(job, found, now)
        job = {**job, "status": status}
        streak = self._note_failures(key, found, now)
        wait: float | None = None
        failed = plan.failure(job, found, now)
        succeeded = None if failed is not None else plan.success(job, found)
        problem: Exception | None = None
        news: News = []
        if failed is not None or succeeded is not None:
            type, verdict = ("FailureTarget", failed) if failed is not None else ("SuccessCriteriaMet", succeeded)
            assert verdict is not None
            self._add(status, type, "True", verdict, now)
            if satisfied:
                problem = await self.owned.act(self._control, key, job, 0, lambda at: {}, found.active)
            if not (found.active or found.terminating or found.release or status["uncountedTerminatedPods"]):
                self._finish(status, failed, succeeded, now, news)
        elif satisfied and job["metadata"].get("deletionTimestamp") is None:
            todo = plan.work(job, found)
            if job["spec"].get("backoffLimitPerIndex") is None:
                wait = plan.backoff(streak.count, streak.last, now) if todo.indexes else None
            else:
                waits = plan.index_waits(job, pods, now)
                ready = [number for number in todo.indexes if number is None or number not in waits]
                if todo.indexes and not ready:
                    wait = min(waits[number] for number in todo.indexes if number is not None)
                todo = plan.Work(ready, todo.delete)
            indexes = todo.indexes if not todo.delete and not wait else []  # one or the other in a pass, as upstream
            owner = job
            problem = await self.owned.act(self._control, key, owner, len(indexes), lambda at: _pod(owner, indexes[at], pods), todo.delete)
            if indexes:
                metric.PODS_CREATED.labels("new", "failed" if problem is not None else "succeeded").inc(len(indexes))
            self._suspend(job, status, now, news)
        status["active"] = len(found.active)
        job = await self._write(job, found, status)
        for item in news:
            self._recorder.event(job, *item)
        if problem is not None:
            raise problem
        left = plan.deadline(job, now)
        return min((item for item in (wait, left, self.owned.expectations.wait(key)) if item is not None), default=None)

    def _counted(self, job: Object, found: Snapshot, now: float) -> Object:
        """The status with what has ended noted: settled UIDs become numbers, new ones are written down."""
        status: Object = dict(job.get("status") or {})
        uncounted = status.get("uncountedTerminatedPods") or {}
        noted: Object = {}
        for name, new in (("succeeded", found.new_succeeded), ("failed", found.new_failed)):
            settled = set(found.settled[name])
            status[name] = (status.get(name) or 0) + len(settled)
            if settled:
                metric.PODS_FINISHED.labels(metric.mode(job), name).inc(len(settled))
            noted[name] = [uid for uid in uncounted.get(name) or () if uid not in settled] + [pod["metadata"]["uid"] for pod in new]
        status["uncountedTerminatedPods"] = {name: uids for name, uids in noted.items() if uids}
        if is_indexed(job):
            status["completedIndexes"] = index.write(found.succeeded_indexes)
            status["succeeded"] = len(found.succeeded_indexes)
            if job["spec"].get("backoffLimitPerIndex") is not None:
                status["failedIndexes"] = index.write(found.failed_indexes)
        status |= {"ready": found.ready, "terminating": found.terminating}
        if not job["spec"].get("suspend") and not status.get("startTime"):
            status["startTime"] = format_time(now)
        return status

    def _note_failures(self, key: str, found: Snapshot, now: float) -> _Streak:
        streak = self._streaks.setdefault(key, _Streak())
        if found.new_succeeded:
            streak.count = 0
        if found.new_failed:
            streak.count += len(found.new_failed)
            streak.last = now
        return streak

    def _add(self, status: Object, type: str, value: str, verdict: plan.Verdict, now: float) -> None:
        moment = format_time(now)
        new = {"type": type, "status": value, "lastProbeTime": moment, "lastTransitionTime": moment, "reason": verdict.reason,
               "message": verdict.message}
        conditions = status.get("conditions") or []
        old = condition.find(conditions, type)
        if old is None or (old["status"], old.get("reason")) != (value, verdict.reason):
            status["conditions"] = [*condition.without(conditions, type), new]

    def _finish(self, status: Object, failed: plan.Verdict | None, succeeded: plan.Verdict | None, now: float, news: News) -> None:
        if failed is not None:
            self._add(status, "Failed", "True", failed, now)
            news.append(("Warning", failed.reason, failed.message))
        elif succeeded is not None:
            self._add(status, "Complete", "True", succeeded, now)
            status["completionTime"] = format_time(now)
            news.append(("Normal", "Completed", "Job completed"))

    def _suspend(self, job: Object, status: Object, now: float, news: News) -> None:
        found = condition.find(status.get("conditions") or (), "Suspended")
        if job["spec"].get("suspend"):
            status.pop("startTime", None)
            if found is None or found["status"] != "True":
                self._add(status, "Suspended", "True", plan.Verdict("JobSuspended", "Job suspended"), now)
                news.append(("Normal", "Suspended", "Job suspended"))
        elif found is not None and found["status"] == "True":
            self._add(status, "Suspended", "False", plan.Verdict("JobResumed", "Job resumed"), now)
            status["startTime"] = format_time(now)
            news.append(("Normal", "Resumed", "Job resumed"))

    async def _write(self, job: Object, found: Snapshot, status: Object) -> Object:
        """Notes the UIDs first, then lets the pods go: a crash in between loses and doubles nothing."""
        status = _tidy(status)
        cached = self._jobs.get(job["metadata"]["name"], job["metadata"]["namespace"])
        if cached is None or _tidy(cached.get("status") or {}) != status:
            try:
                job = await self._update(job, status)
            except NotFound:
                return job
            if status["uncountedTerminatedPods"] and not (job.get("status") or {}).get("uncountedTerminatedPods"):
                # without a note of those that have ended they would be replaced for ever
                raise ApiError("the server does not keep uncountedTerminatedPods (Kubernetes before v1.23): its Jobs cannot be counted")
            self._count(job, found)
        await self._release([*found.release, *found.new_succeeded, *found.new_failed, *found.ignored])
        return job

    async def _update(self, job: Object, status: Object) -> Object:
        try:
            return await self._client.update(JOBS, {**job, "status": status}, subresource="status")
        except Invalid as error:  # servers of v1.30 and v1.31 take SuccessCriteriaMet only of Jobs with a success policy
            if "SuccessCriteriaMet" not in error.message or job["spec"].get("successPolicy"):
                raise
            plain = [item for item in status.get("conditions") or () if item["type"] != "SuccessCriteriaMet"]
            return await self._client.update(JOBS, {**job, "status": {**status, "conditions": plain}}, subresource="status")

    def _count(self, job: Object, found: Snapshot) -> None:
        """What the status says now for the first time."""
        for item in (job.get("status") or {}).get("conditions") or ():
            if item["type"] in ("Complete", "Failed") and item["status"] == "True":
                result = "succeeded" if item["type"] == "Complete" else "failed"
                metric.FINISHED.labels(metric.mode(job), result, item.get("reason") or "").inc()
        for action, count in found.judged.items():
            metric.POLICY.labels(action).inc(count)

    async def _release(self, pods: Sequence[Object]) -> None:
        """Removes the tracking finalizer."""

        async def one(pod: Object) -> None:
            metadata = pod["metadata"]
            kept = [name for name in metadata.get("finalizers") or () if name != FINALIZER]
            patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "finalizers": kept or None}}
            try:
                await self._client.patch(PODS, metadata["name"], patch, metadata["namespace"])
            except NotFound:
                return
            self._released.add(metadata["uid"])
            metric.TRACKED.labels("delete").inc()

        errors = await at_once(list(pods), one)
        if errors:
            raise errors[0]

    def observe(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        if new is None or FINALIZER not in (new["metadata"].get("finalizers") or ()):
            self._released.discard(pod["metadata"]["uid"])
        self.owned.observe(old, new)

    async def release_orphans(self, key: str) -> None:
        """Pods of a Job that has gone must not be held by a finalizer that nobody removes."""
        pod = self._pods.by_key(key)
        if pod is not None and FINALIZER in (pod["metadata"].get("finalizers") or ()):
            owner = controller_of(pod)
            if owner is None or owner["kind"] != "Job" or await self._is_gone(owner, pod["metadata"]["namespace"]):
                await self._release([pod])

    async def _is_gone(self, owner: Object, namespace: str) -> bool:
        """The cache may be behind: a pod that is let go before its Job has counted it is never counted."""
        uid, job = owner["uid"], self._jobs.get(owner["name"], namespace)
        if uid == self._gone or (job is not None and job["metadata"]["uid"] == uid):
            return bool(uid == self._gone)
        try:
            job = await self._client.get(JOBS, owner["name"], namespace)
        except NotFound:
            job = None
        if job is not None and job["metadata"]["uid"] == uid:
            return False
        self._gone = uid
        return True


def _pod(job: Object, number: int | None, pods: Sequence[Object]) -> Object:
    pod = pod_from_template(job, JOBS, job["spec"]["template"])
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
    if number is None:
        return pod
    name = f"{job['metadata']['name']}-{number}"
    metadata["generateName"] = f"{name}-"
    metadata["annotations"] = {**(metadata.get("annotations") or {}), index.ANNOTATION: str(number)}
    metadata["labels"] = {**(metadata.get("labels") or {}), index.ANNOTATION: str(number)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        counted = ignored = 0
        for item in pods:
            if index.of(item) != number or not has_failed(job, item):
                continue
            spared = phase(item) == "Failed" and policy.judge(job, item).action == "Ignore"
            counted = max(counted, index.failures(item) + (not spared))
            ignored = max(ignored, index.ignored_failures(item) + spared)
        metadata["annotations"][index.FAILURES] = str(counted)
        if ignored:
            metadata["annotations"][index.IGNORED] = str(ignored)
    source = {"name": "JOB_COMPLETION_INDEX",
              "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{index.ANNOTATION}']"}}}
    pod["spec"] = {**spec, "hostname": spec.get("hostname") or name}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            pod["spec"][field] = [item if any(env["name"] == source["name"] for env in item.get("env") or ())
                                  else {**item, "env": [*(item.get("env") or ()), source]} for item in spec[field]]
    return pod


def _tidy(status: Object) -> Object:
    """Without zero counts where the API leaves them out, so that equal statuses compare equal."""
    kept = {key: value for key, value in status.items() if value or key in ("ready", "terminating", "uncountedTerminatedPods")}
    kept.setdefault("uncountedTerminatedPods", {})
    return kept


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (Watch(JOBS), Watch(PODS, keys=reconciler.owned.keys, observe=reconciler.observe, owned_by="Job"))
    return Controller("job", reconciler.reconcile, watches, workers=env.options.concurrency("job", 5), initial_backoff=1.0,
                      maximum_backoff=600.0)


def orphans(env: Environment) -> Controller:
    """Runs beside the Job controller: frees pods whose Job has gone."""
    reconciler = Reconciler(env)
    pods = env.informers.informer(PODS).lister

    def of_job(job: Object) -> Sequence[str]:
        return [key_of(pod) for pod in pods.by_index("controller", job["metadata"]["uid"])]

    async def reconcile(key: str) -> None:
        await reconciler.release_orphans(key)

    watches = (
        Watch(JOBS, keys=of_job, when=lambda old, new: new is None),
        Watch(PODS, when=lambda old, new: new is not None and FINALIZER in (new["metadata"].get("finalizers") or ())
              and (old is None or new["metadata"].get("deletionTimestamp") is not None)),
    )
    return Controller("job_orphan_pod", reconcile, watches, workers=1)
