"""Whether a Job has ended, and which pods to create or delete otherwise."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kubepy.api.pod import is_ready, phase
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.controllers.job import index, policy
from kubepy.controllers.job.snapshot import Snapshot, has_failed, is_indexed, replaces_only_failed
from kubepy.controllers.kit.condition import find

BURST = 500
DELAY, MAXIMUM_DELAY = 10.0, 600.0


class Verdict(NamedTuple):
    reason: str
    message: str


class Work(NamedTuple):
    """`indexes` are those to create pods for; None in them for a Job without indexes."""

    indexes: list[int | None]
    delete: list[Object]


REACHED = Verdict("CompletionsReached", "Reached expected number of succeeded pods")


def failure(job: Object, found: Snapshot, now: float) -> Verdict | None:
    """Why the Job has failed, if it has. One that has succeeded cannot: the pods that are stopped then end as failed ones."""
    spec, conditions = job["spec"], (job.get("status") or {}).get("conditions") or ()
    met, target = find(conditions, "SuccessCriteriaMet"), find(conditions, "FailureTarget")
    if met is not None and met["status"] == "True":
        return None
    if target is not None and target["status"] == "True":
        return Verdict(target["reason"], target["message"])
    if found.fail_job:
        return Verdict("PodFailurePolicy", found.fail_job)
    limit = spec.get("backoffLimit")
    limit = 6 if limit is None else limit
    if found.failed > limit or _restarts_exceed(job, found.active, limit):
        return Verdict("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if (left := deadline(job, now)) is not None and left <= 0:
        return Verdict("DeadlineExceeded", "Job was active longer than specified deadline")
    if is_indexed(job) and spec.get("backoffLimitPerIndex") is not None:
        maximum = spec.get("maxFailedIndexes")
        if maximum is not None and len(found.failed_indexes) > maximum:
            return Verdict("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
        if found.failed_indexes and len(found.failed_indexes) + len(found.succeeded_indexes) >= spec["completions"]:
            return Verdict("FailedIndexes", "Job has failed indexes")
    return None


def success(job: Object, found: Snapshot) -> Verdict | None:
    """Why the Job has succeeded, if it has; pods may still be running when a success policy says so."""
    met = find((job.get("status") or {}).get("conditions") or (), "SuccessCriteriaMet")
    if met is not None and met["status"] == "True":
        return Verdict(met["reason"], met["message"])
    if is_indexed(job) and (message := policy.enough(job, found.succeeded_indexes)) is not None:
        return Verdict("SuccessPolicy", message)
    completions = job["spec"].get("completions")
    if completions is None:
        return REACHED if found.succeeded > 0 and not found.active else None
    return REACHED if found.succeeded >= completions and not found.active else None


def deadline(job: Object, now: float) -> float | None:
    """Seconds until activeDeadlineSeconds is over; None when there is none or the Job does not run."""
    seconds, started = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if seconds is None or not started or job["spec"].get("suspend"):
        return None
    return float(parse_time(started) + seconds - now)


def backoff(failures: int, last: float, now: float) -> float:
    """Seconds to wait before pods are created after so many failures in a row, the last at `last`."""
    if failures <= 0:
        return 0.0
    return max(float(last + min(DELAY * 2.0 ** min(failures - 1, 10), MAXIMUM_DELAY) - now), 0.0)


def index_waits(job: Object, pods: Sequence[Object], now: float) -> dict[int, float]:
    """With backoffLimitPerIndex: the seconds that each index has still to wait after its last failed pod."""
    if not is_indexed(job) or job["spec"].get("backoffLimitPerIndex") is None:
        return {}
    last: dict[int, tuple[int, float]] = {}
    for pod in pods:
        number = index.of(pod)
        if number is not None and has_failed(job, pod):
            last[number] = max(last.get(number, (0, 0.0)), (index.failures(pod) + index.ignored_failures(pod) + 1, ended(pod)))
    waits = {number: backoff(count, moment, now) for number, (count, moment) in last.items()}
    return {number: wait for number, wait in waits.items() if wait > 0}


def ended(pod: Object) -> float:
    """When a failed pod came to its end: its last container did, or it was to be deleted, or it stopped being ready."""
    status = pod.get("status") or {}
    moments = [item["state"]["terminated"]["finishedAt"] for item in status.get("containerStatuses") or ()
               if ((item.get("state") or {}).get("terminated") or {}).get("finishedAt")]
    moments = moments or [text for text in (pod["metadata"].get("deletionTimestamp"),) if text]
    moments = moments or [item["lastTransitionTime"] for item in status.get("conditions") or ()
                          if item["type"] == "Ready" and item.get("lastTransitionTime")]
    moments = moments or [text for text in (pod["metadata"].get("creationTimestamp"),) if text]
    return max((parse_time(text) for text in moments), default=0.0)


def work(job: Object, found: Snapshot) -> Work:
    """The pods to create and delete for a Job that goes on."""
    spec, active = job["spec"], found.active
    if spec.get("suspend"):
        return Work([], active)
    parallelism = 1 if spec.get("parallelism") is None else spec["parallelism"]
    completions = spec.get("completions")
    duplicates = _duplicates(active) if is_indexed(job) else []
    surplus = [pod for pod in active if pod not in duplicates]
    if completions is None:
        wanted = len(surplus) if found.succeeded > 0 else parallelism
    else:
        wanted = min(parallelism, completions - found.succeeded - len(found.failed_indexes))
    wanted = max(wanted, 0)
    if len(surplus) > wanted:
        order = sorted(surplus, key=lambda pod: (is_ready(pod), phase(pod) == "Running", pod["metadata"].get("creationTimestamp") or ""))
        return Work([], [*duplicates, *order[: len(surplus) - wanted]])
    missing = min(wanted - len(surplus) - (found.terminating if replaces_only_failed(job) else 0), BURST)
    if missing <= 0:
        return Work([], duplicates)
    if not is_indexed(job):
        return Work([None] * missing, duplicates)
    busy = {number for pod in surplus if (number := index.of(pod)) is not None}
    free = (number for number in range(completions or 0)
            if number not in busy and number not in found.succeeded_indexes and number not in found.failed_indexes)
    return Work([number for number, _ in zip(free, range(missing), strict=False)], duplicates)


def _duplicates(active: Sequence[Object]) -> list[Object]:
    """All but the oldest pod of each index, and pods without one."""
    seen: set[int] = set()
    found = []
    for pod in sorted(active, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"])):
        number = index.of(pod)
        if number is None or number in seen:
            found.append(pod)
        else:
            seen.add(number)
    return found


def _restarts_exceed(job: Object, active: Sequence[Object], limit: int) -> bool:
    """With restartPolicy OnFailure the restarts of living pods count instead of pods."""
    if (job["spec"]["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(status.get("restartCount") or 0 for pod in active if phase(pod) in ("Running", "Pending")
                   for name in ("containerStatuses", "initContainerStatuses") for status in (pod.get("status") or {}).get(name) or ())
    return restarts > 0 if limit == 0 else restarts >= limit
