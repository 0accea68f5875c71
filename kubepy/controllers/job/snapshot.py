"""What a Job's pods and status say together: every pod is counted once, in the status or here.

A pod that has ended keeps the tracking finalizer until the status has taken note of it (`uncountedTerminatedPods`);
only then is the finalizer removed, and only then does the UID become a number.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubepy.api.pod import is_active, is_ready, is_terminal, phase
from kubepy.api.types import Object
from kubepy.controllers.job import index, policy

FINALIZER = "batch.kubernetes.io/job-tracking"


@dataclass(slots=True)
class Snapshot:
    active: list[Object] = field(default_factory=list)
    terminating: int = 0
    ready: int = 0
    new_succeeded: list[Object] = field(default_factory=list)
    """Ended pods that the status does not know of yet."""
    new_failed: list[Object] = field(default_factory=list)
    ignored: list[Object] = field(default_factory=list)
    """Failed pods that the failure policy says not to count; they only lose their finalizer."""
    release: list[Object] = field(default_factory=list)
    """Pods whose UIDs the status holds: their finalizers may go."""
    settled: dict[str, list[str]] = field(default_factory=dict)
    """UIDs in the status whose finalizers have gone: they become numbers."""
    succeeded: int = 0
    failed: int = 0
    succeeded_indexes: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    judged: Counter[str] = field(default_factory=Counter)
    """Newly failed pods by the action of the failure policy that matched."""
    fail_job: str = ""
    """Why the failure policy ends the Job."""


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def replaces_only_failed(job: Object) -> bool:
    """Whether a terminating pod is replaced only after its end."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy"))


def has_failed(job: Object, pod: Object) -> bool:
    """Failed, or deleted before it could succeed (where terminating pods are replaced at once)."""
    if phase(pod) == "Failed":
        return True
    if replaces_only_failed(job):
        return False
    return pod["metadata"].get("deletionTimestamp") is not None and phase(pod) != "Succeeded"


def take(job: Object, pods: Sequence[Object], released: set[str]) -> Snapshot:
    """`released` are UIDs whose finalizers were removed although the cache may not show it yet."""
    found = Snapshot()
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    known = {name: set(uncounted.get(name) or ()) for name in ("succeeded", "failed")}
    held = set()
    completions = job["spec"].get("completions") or 0
    if is_indexed(job):
        found.succeeded_indexes = index.parse(status.get("completedIndexes"), completions)
        found.failed_indexes = index.parse(status.get("failedIndexes"), completions)
    for pod in pods:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        tracked = FINALIZER in (metadata.get("finalizers") or ()) and uid not in released
        if is_active(pod):
            found.active.append(pod)
            found.ready += is_ready(pod)
        elif not is_terminal(pod):
            found.terminating += 1
        if tracked:
            held.add(uid)
        if not tracked:
            continue
        if uid in known["succeeded"] or uid in known["failed"]:
            found.release.append(pod)
        elif phase(pod) == "Succeeded":
            _succeed(job, found, pod, completions)
        elif has_failed(job, pod):
            _fail(job, found, pod)
    found.settled = {name: sorted(uids - held) for name, uids in known.items()}
    found.succeeded = (status.get("succeeded") or 0) + len(known["succeeded"]) + len(found.new_succeeded)
    if is_indexed(job):
        found.succeeded = len(found.succeeded_indexes)
    found.failed = (status.get("failed") or 0) + len(known["failed"]) + len(found.new_failed)
    return found


def _succeed(job: Object, found: Snapshot, pod: Object, completions: int) -> None:
    if not is_indexed(job):
        found.new_succeeded.append(pod)
        return
    number = index.of(pod)
    if number is not None and number < completions and number not in found.failed_indexes:
        found.succeeded_indexes.add(number)
    found.release.append(pod)  # indexes are counted by the set of them, which may see a pod twice


def _fail(job: Object, found: Snapshot, pod: Object) -> None:
    match = policy.judge(job, pod) if phase(pod) == "Failed" else policy.COUNT
    if match.message:
        found.judged[match.action] += 1
    if match.action == "FailJob" and not found.fail_job:
        found.fail_job = match.message
    if match.action == "Ignore":
        found.ignored.append(pod)
        return
    found.new_failed.append(pod)
    number = index.of(pod)
    limit = job["spec"].get("backoffLimitPerIndex")
    if limit is None or number is None or number in found.succeeded_indexes:
        return
    if match.action == "FailIndex" or index.failures(pod) >= limit:
        found.failed_indexes.add(number)
