"""The next steps of a StatefulSet, in order: one at a time, or all at once where `podManagementPolicy` is Parallel.

Replicas are made from the lowest ordinal up, superfluous ones go from the highest down, updates go from the highest down
to the partition. A pod that is not healthy holds up everything behind it.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubepy.api.pod import is_available, is_ready, is_terminal, phase
from kubepy.api.types import Object
from kubepy.controllers.deployment.rollout import resolve
from kubepy.controllers.kit.revision import HASH_LABEL
from kubepy.controllers.statefulset.identity import first_ordinal, ordinal, replicas


@dataclass(slots=True)
class Plan:
    create: list[tuple[int, str]] = field(default_factory=list)
    """(ordinal, revision name)"""
    delete: list[Object] = field(default_factory=list)
    recreate: list[Object] = field(default_factory=list)
    """Pods among `delete` that have ended: told in events."""


def is_parallel(owner: Object) -> bool:
    return bool(owner["spec"].get("podManagementPolicy") == "Parallel")


def next_steps(owner: Object, pods: Sequence[Object], current: str, update: str, now: float) -> Plan:
    """What to do now; `current` and `update` are names of revisions."""
    plan = Plan()
    start, count = first_ordinal(owner), replicas(owner)
    by_ordinal = {number: pod for pod in pods if (number := ordinal(owner, pod)) is not None}
    wanted = range(start, start + count)
    condemned = [by_ordinal[number] for number in sorted(by_ordinal, reverse=True) if number not in wanted]
    if owner["metadata"].get("deletionTimestamp") is not None:
        return plan
    if not _fill(owner, plan, wanted, by_ordinal, current, update, now) or not _shrink(owner, plan, condemned, by_ordinal, wanted, now):
        return plan
    if (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "OnDelete":
        return plan
    _update(owner, plan, wanted, by_ordinal, update, now)
    return plan


def _fill(owner: Object, plan: Plan, wanted: range, pods: Mapping[int, Object], current: str, update: str, now: float) -> bool:
    """Makes what is missing. Returns whether later steps may follow."""
    parallel = is_parallel(owner)
    for number in wanted:
        pod = pods.get(number)
        if pod is None:
            plan.create.append((number, _revision_for(owner, number, current, update)))
        elif is_terminal(pod):
            if pod["metadata"].get("deletionTimestamp") is None:
                plan.delete.append(pod)
                plan.recreate.append(pod)
        elif parallel or _is_healthy(owner, pod, now):
            continue
        if not parallel:
            return False
    return parallel or not plan.create


def _shrink(owner: Object, plan: Plan, condemned: Sequence[Object], pods: Mapping[int, Object], wanted: range, now: float) -> bool:
    """Takes away what is too much. Returns whether later steps may follow."""
    parallel = is_parallel(owner)
    everything = [pods[number] for number in sorted(pods)]
    first_unhealthy = next((pod for pod in everything if not _is_healthy(owner, pod, now)), None)
    for pod in condemned:
        if pod["metadata"].get("deletionTimestamp") is not None:
            if not parallel:
                return False
            continue
        if not parallel and not is_ready(pod) and pod is not first_unhealthy:
            return False
        plan.delete.append(pod)
        if not parallel:
            return False
    return True


def _update(owner: Object, plan: Plan, wanted: range, pods: Mapping[int, Object], update: str, now: float) -> None:
    """Deletes pods of old revisions from the highest ordinal down to the partition, so many at a time."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    lowest = wanted.start + int(rolling.get("partition") or 0)
    limit = max(resolve(rolling.get("maxUnavailable", 1), len(wanted), up=False), 1)
    unavailable = sum(1 for number in wanted if (pod := pods.get(number)) is None or not _is_healthy(owner, pod, now))
    leaving = {pod["metadata"]["name"] for pod in plan.delete}
    if limit == 1:
        for number in reversed([number for number in wanted if number >= lowest]):
            pod = pods.get(number)
            if pod is None or pod["metadata"].get("deletionTimestamp") is not None or pod["metadata"]["name"] in leaving:
                return
            if revision_of(pod) != update:
                plan.delete.append(pod)
                return
            if not _is_healthy(owner, pod, now):
                return
        return
    for number in reversed([number for number in wanted if number >= lowest]):
        pod = pods.get(number)
        if pod is None or revision_of(pod) == update or pod["metadata"].get("deletionTimestamp") is not None:
            continue
        if unavailable >= limit and _is_healthy(owner, pod, now):
            return
        unavailable += _is_healthy(owner, pod, now)
        plan.delete.append(pod)


def revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL) or "")


def _revision_for(owner: Object, number: int, current: str, update: str) -> str:
    """Below the partition, or not reached by the rolling update yet, a pod keeps the current revision."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return update
    start = first_ordinal(owner)
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        kept = start + int((owner.get("status") or {}).get("currentReplicas") or 0)
    else:
        kept = start + int(rolling.get("partition") or 0)
    return current if number < kept else update


def _is_healthy(owner: Object, pod: Object, now: float) -> bool:
    return (phase(pod) == "Running" and pod["metadata"].get("deletionTimestamp") is None
            and is_available(pod, owner["spec"].get("minReadySeconds") or 0, now))


def new_status(owner: Object, pods: Sequence[Object], current: str, update: str, now: float) -> Object:
    """The status, with the current revision moved on when a rolling update has reached every pod."""
    old = owner.get("status") or {}
    min_ready = owner["spec"].get("minReadySeconds") or 0
    mine = [pod for pod in pods if ordinal(owner, pod) is not None]
    there = [pod for pod in mine if phase(pod)]
    living = [pod for pod in mine if phase(pod) and pod["metadata"].get("deletionTimestamp") is None and not is_terminal(pod)]
    running = [pod for pod in there if phase(pod) == "Running" and is_ready(pod)]
    status: Object = {
        "replicas": len(there), "readyReplicas": len(running),
        "availableReplicas": sum(1 for pod in running if is_available(pod, min_ready, now)),
        "currentReplicas": sum(1 for pod in living if revision_of(pod) == current),
        "updatedReplicas": sum(1 for pod in living if revision_of(pod) == update),
        "currentRevision": current, "updateRevision": update,
        "observedGeneration": owner["metadata"].get("generation", 0), "collisionCount": old.get("collisionCount") or 0,
    }
    if old.get("conditions"):
        status["conditions"] = old["conditions"]
    rolling = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    if rolling and current != update and status["updatedReplicas"] == status["replicas"] == status["readyReplicas"]:
        status["currentReplicas"], status["currentRevision"] = status["updatedReplicas"], update
    required = ("replicas", "availableReplicas", "collisionCount")
    return {name: value for name, value in status.items() if value or name in required}
