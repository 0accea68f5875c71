"""A Deployment's status: counts over its ReplicaSets, and the conditions Available, Progressing, ReplicaFailure."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.controllers.deployment.rollout import max_unavailable, replicas, total
from kubepy.controllers.kit.condition import find, without

UNLIMITED = 2**31 - 1
_NO_STATUS: Object = {}
PROGRESSING, AVAILABLE, FAILURE = "Progressing", "Available", "ReplicaFailure"
NEW_AVAILABLE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"


def has_deadline(deployment: Object) -> bool:
    return deployment["spec"].get("progressDeadlineSeconds") not in (None, UNLIMITED)


def condition(type: str, status: str, reason: str, message: str, now: float) -> Object:
    moment = format_time(now)
    return {"type": type, "status": status, "lastUpdateTime": moment, "lastTransitionTime": moment, "reason": reason, "message": message}


def with_condition(conditions: Sequence[Object], new: Object) -> list[Object]:
    """Upstream's SetDeploymentCondition: the same status and reason change nothing, the same status keeps its transition time."""
    old = find(conditions, new["type"])
    if old is not None:
        if old["status"] == new["status"] and old.get("reason") == new["reason"]:
            return list(conditions)
        if old["status"] == new["status"]:
            new = {**new, "lastTransitionTime": old["lastTransitionTime"]}
    return [*without(conditions, new["type"]), new]


def is_complete(deployment: Object, status: Object) -> bool:
    wanted = replicas(deployment)
    return bool(status.get("updatedReplicas", 0) == status.get("replicas", 0) == status.get("availableReplicas", 0) == wanted
            and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0))


def counts(deployment: Object, everything: Sequence[Object], new: Object | None, now: float) -> Object:
    """The status without the Progressing condition's change."""
    old = deployment.get("status") or {}
    present = ready = ready_now = terminating = 0
    terminating_known = True
    for item in everything:
        found = item.get("status") or _NO_STATUS
        present += found.get("replicas") or 0
        ready += found.get("readyReplicas") or 0
        ready_now += found.get("availableReplicas") or 0
        terminating += found.get("terminatingReplicas") or 0
        terminating_known = terminating_known and "terminatingReplicas" in found
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    for name, value in (("replicas", present), ("updatedReplicas", ((new or {}).get("status") or _NO_STATUS).get("replicas")),
                        ("readyReplicas", ready), ("availableReplicas", ready_now), ("unavailableReplicas", total(everything) - ready_now)):
        if value and value > 0:
            status[name] = value
    if terminating_known:
        status["terminatingReplicas"] = terminating
    if old.get("collisionCount") is not None:
        status["collisionCount"] = old["collisionCount"]
    if ready_now >= replicas(deployment) - max_unavailable(deployment):
        seen = condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    else:
        seen = condition(AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now)
    status["conditions"] = with_condition(old.get("conditions") or (), seen)
    return status


def with_progress(deployment: Object, status: Object, everything: Sequence[Object], new: Object | None, now: float) -> Object:
    """The status of a rollout: whether it moves, has ended, or is stuck; and why ReplicaSets fail."""
    conditions = status["conditions"]
    name = f'ReplicaSet "{new["metadata"]["name"]}"' if new is not None else f'Deployment "{deployment["metadata"]["name"]}"'
    current = find(conditions, PROGRESSING)
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0) and current is not None and current["reason"] == NEW_AVAILABLE
    if not has_deadline(deployment):
        conditions = without(conditions, PROGRESSING)
    elif not settled:
        if is_complete(deployment, status):
            moved = condition(PROGRESSING, "True", NEW_AVAILABLE, f"{name} has successfully progressed.", now)
            conditions = with_condition(conditions, moved)
        elif _has_progressed(deployment, status):
            moved = condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{name} is progressing.", now)
            if current is not None and current["status"] == "True":
                moved["lastTransitionTime"] = current["lastTransitionTime"]
            conditions = [*without(conditions, PROGRESSING), moved]
        elif is_timed_out(deployment, conditions, now):
            conditions = with_condition(conditions, condition(PROGRESSING, "False", TIMED_OUT, f"{name} has timed out progressing.", now))
    failures = [found for item in ([new] if new else []) + [item for item in everything if item is not new]
                if (found := find((item.get("status") or {}).get("conditions") or (), FAILURE)) is not None]
    if failures:
        first = failures[0]
        seen = {**condition(FAILURE, first["status"], first.get("reason", ""), first.get("message", ""), now),
                "lastTransitionTime": first.get("lastTransitionTime", format_time(now))}
        conditions = with_condition(conditions, seen)
    else:
        conditions = without(conditions, FAILURE)
    return {**status, "conditions": conditions}


def is_timed_out(deployment: Object, conditions: Sequence[Object], now: float) -> bool:
    found = find(conditions, PROGRESSING)
    if found is None or found["reason"] == NEW_AVAILABLE:
        return False
    if found["reason"] == TIMED_OUT:
        return True
    return bool(parse_time(found["lastUpdateTime"]) + deployment["spec"]["progressDeadlineSeconds"] < now)


def time_to_deadline(deployment: Object, status: Object, now: float) -> float | None:
    """Seconds until the rollout should be looked at again to see whether it is stuck."""
    found = find(status.get("conditions") or (), PROGRESSING)
    if not has_deadline(deployment) or found is None or is_complete(deployment, status) or found["reason"] == TIMED_OUT:
        return None
    return max(float(parse_time(found["lastUpdateTime"]) + deployment["spec"]["progressDeadlineSeconds"] - now), 0.0) + 1.0


def paused_conditions(deployment: Object, now: float) -> list[Object] | None:
    """The conditions after pausing or resuming; None when nothing is to be changed."""
    conditions = (deployment.get("status") or {}).get("conditions") or []
    found = find(conditions, PROGRESSING)
    if not has_deadline(deployment) or (found is not None and found["reason"] == TIMED_OUT):
        return None
    was_paused = found is not None and found["reason"] == "DeploymentPaused"
    if deployment["spec"].get("paused") and not was_paused:
        return with_condition(conditions, condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now))
    if not deployment["spec"].get("paused") and was_paused:
        return with_condition(conditions, condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now))
    return None


def _has_progressed(deployment: Object, status: Object) -> bool:
    old = deployment.get("status") or {}

    def value(source: Object, name: str) -> int:
        return int(source.get(name) or 0)

    outdated = value(status, "replicas") - value(status, "updatedReplicas")
    return (any(value(status, name) > value(old, name) for name in ("updatedReplicas", "readyReplicas", "availableReplicas"))
            or outdated < value(old, "replicas") - value(old, "updatedReplicas"))
