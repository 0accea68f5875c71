"""What a node's heartbeats say: when it was last heard of, and which conditions and taints follow. Pure."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubepy.api.pod import condition
from kubepy.api.types import Object
from kubepy.base.clock import format_time

CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_PRESSURE = (
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
)
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_MANAGED = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *(key for _, key in _PRESSURE)})


@dataclass(frozen=True, slots=True)
class Heard:
    """When something new was last seen of a node (by our clock, whatever the node's says), and what it was."""

    at: float
    renewed: str = ""
    heartbeat: str = ""


def listen(node: Object, lease: Object | None, heard: Heard | None, now: float) -> Heard:
    """A renewed lease or a new heartbeat counts as a sign of life."""
    renewed = ((lease or {}).get("spec") or {}).get("renewTime") or ""
    heartbeat = (condition(node, "Ready") or {}).get("lastHeartbeatTime") or ""
    if heard is None or renewed != heard.renewed or heartbeat != heard.heartbeat:
        return Heard(now, renewed, heartbeat)
    return heard


def silent_conditions(node: Object, heard: Heard, now: float, grace: float, startup_grace: float) -> list[Object] | None:
    """The node's conditions when it has been silent for too long; None while it is heard of, or when nothing changes."""
    if now <= heard.at + (grace if condition(node, "Ready") is not None else startup_grace):
        return None
    current = list((node.get("status") or {}).get("conditions") or ())
    moment = format_time(now)
    changed = False
    for type in CONDITIONS:
        index = next((i for i, item in enumerate(current) if item["type"] == type), None)
        if index is None:
            current.append({"type": type, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                            "message": "Kubelet never posted node status.",
                            "lastHeartbeatTime": node["metadata"].get("creationTimestamp"), "lastTransitionTime": moment})
            changed = True
        elif current[index]["status"] != "Unknown":
            current[index] = {**current[index], "status": "Unknown", "reason": "NodeStatusUnknown",
                              "message": "Kubelet stopped posting node status.", "lastTransitionTime": moment}
            changed = True
    return current if changed else None


def readiness(node: Object) -> str:
    """True, False or Unknown; a node without the condition is Unknown only once it has been marked so."""
    return str((condition(node, "Ready") or {}).get("status") or "")


def no_schedule_taints(node: Object) -> list[Object]:
    """The NoSchedule taints that the node's conditions call for."""
    keys = []
    ready = readiness(node)
    if ready == "False":
        keys.append(NOT_READY)
    elif ready == "Unknown":
        keys.append(UNREACHABLE)
    keys += [key for type, key in _PRESSURE if (condition(node, type) or {}).get("status") == "True"]
    if (node.get("spec") or {}).get("unschedulable"):
        keys.append(UNSCHEDULABLE)
    return [{"key": key, "effect": "NoSchedule"} for key in keys]


def plan_no_schedule(node: Object, now: float) -> list[Object] | None:
    """All taints with the managed NoSchedule ones brought up to date; None when they are."""
    taints: Sequence[Object] = (node.get("spec") or {}).get("taints") or ()
    wanted = {item["key"]: item for item in no_schedule_taints(node)}
    kept = [item for item in taints if item["effect"] != "NoSchedule" or item["key"] not in _MANAGED or item["key"] in wanted]
    present = {item["key"] for item in kept if item["effect"] == "NoSchedule"}
    missing = [{**item, "timeAdded": format_time(now)} for key, item in wanted.items() if key not in present]
    return [*kept, *missing] if missing or len(kept) != len(taints) else None


def plan_no_execute(node: Object, now: float, spare: bool = False) -> tuple[list[Object] | None, bool]:
    """(all taints with NoExecute for not-ready or unreachable as it should be, or None; whether that adds one).

    `spare` is for when no node at all is heard of: then the fault is likely ours, and no pod shall go for it."""
    taints: Sequence[Object] = (node.get("spec") or {}).get("taints") or ()
    wanted = None if spare else {"False": NOT_READY, "Unknown": UNREACHABLE}.get(readiness(node))
    kept = [item for item in taints if item["effect"] != "NoExecute" or item["key"] not in (NOT_READY, UNREACHABLE)
            or item["key"] == wanted]
    if wanted is not None and not any(item["key"] == wanted and item["effect"] == "NoExecute" for item in kept):
        return [*kept, {"key": wanted, "effect": "NoExecute", "timeAdded": format_time(now)}], True
    return (kept, False) if len(kept) != len(taints) else (None, False)
