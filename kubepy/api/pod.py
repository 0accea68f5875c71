"""What a pod's status says: phase, conditions, readiness, availability (`k8s.io/kubernetes/pkg/api/v1/pod`)."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.base.clock import parse_time


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def node_name(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def condition(obj: Object, type: str) -> Object | None:
    """The condition of that type in an object's status (of any kind)."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found.get("type") == type:
            return found  # type: ignore[no-any-return]
    return None


def is_true(obj: Object, type: str) -> bool:
    """Whether the condition is there and True."""
    return (condition(obj, type) or {}).get("status") == "True"


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


def is_terminal(pod: Object) -> bool:
    """Succeeded or Failed: its containers will not run again."""
    return phase(pod) in ("Succeeded", "Failed")


def is_terminating(pod: Object) -> bool:
    """Being deleted and not ended yet (upstream's IsPodTerminating)."""
    return not is_terminal(pod) and pod["metadata"].get("deletionTimestamp") is not None


def is_active(pod: Object) -> bool:
    """Neither ended nor being deleted: counts as a replica."""
    return not is_terminal(pod) and pod["metadata"].get("deletionTimestamp") is None


def available_at(pod: Object, min_ready_seconds: int) -> float | None:
    """When a ready pod is (or becomes) available, in epoch seconds; None for one that is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    since = ready.get("lastTransitionTime")
    return parse_time(since) + min_ready_seconds if since else None


def is_available(pod: Object, min_ready_seconds: int, now: float) -> bool:
    """Ready for at least that long."""
    moment = available_at(pod, min_ready_seconds)
    return moment is not None and moment <= now


def restarts(pod: Object) -> int:
    """The most restarts of any of its containers."""
    return max((status.get("restartCount") or 0 for status in (pod.get("status") or {}).get("containerStatuses") or ()), default=0)


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the object's controller."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference  # type: ignore[no-any-return]
    return None


def controller_uid(obj: Object) -> str:
    return str((controller_of(obj) or {}).get("uid") or "")
