"""What a DaemonSet needs: pods to create and delete, the next step of a rolling update, the status."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubepy.api.pod import is_available, is_ready, is_terminal, phase
from kubepy.api.types import Object
from kubepy.controllers.daemonset.eligible import Fit, fit
from kubepy.controllers.deployment.rollout import resolve
from kubepy.controllers.kit.revision import HASH_LABEL

ByNode = Mapping[str, Sequence[Object]]
BURST = 250


@dataclass(slots=True)
class Plan:
    create: list[str] = field(default_factory=list)
    """Names of nodes."""
    delete: list[Object] = field(default_factory=list)
    ended: list[tuple[Object, str]] = field(default_factory=list)
    """Pods among `delete` that have ended, with the node: told in events."""


def limits(daemonset: Object, desired: int) -> tuple[int, int]:
    """(surge, unavailable) of a rolling update."""
    strategy = daemonset["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    surge = resolve(rolling.get("maxSurge", 0), desired, up=True)
    unavailable = resolve(rolling.get("maxUnavailable", 1), desired, up=True)
    return surge, unavailable if surge or unavailable else 1


def manage(daemonset: Object, nodes: Sequence[Object], pods: ByNode, hashed: str, now: float) -> Plan:
    """Pods for nodes that lack one, and away with those that should not be there."""
    plan = Plan()
    min_ready = daemonset["spec"].get("minReadySeconds") or 0
    fits = {node["metadata"]["name"]: fit(daemonset, node) for node in nodes}
    surge, _ = limits(daemonset, sum(1 for item in fits.values() if item.start))
    for name, suits in fits.items():
        present = pods.get(name, ())
        if not present:
            if suits.start:
                plan.create.append(name)
            continue
        if not suits.stay:
            plan.delete += [pod for pod in present if pod["metadata"].get("deletionTimestamp") is None]
            continue
        _manage_node(plan, name, suits, present, surge, hashed, min_ready, now)
    for name, present in pods.items():
        if name not in fits:
            plan.delete += [pod for pod in present if not pod["spec"].get("nodeName") and pod["metadata"].get("deletionTimestamp") is None]
    plan.create, plan.delete = plan.create[:BURST], plan.delete[:BURST]
    return plan


def _manage_node(plan: Plan, name: str, suits: Fit, present: Sequence[Object], surge: int, hashed: str, min_ready: int, now: float) -> None:
    running = []
    leaving = False  # a successor waits until the last one has gone
    for pod in present:
        if pod["metadata"].get("deletionTimestamp") is not None:
            leaving = True
        elif is_terminal(pod):
            plan.delete.append(pod)
            plan.ended.append((pod, name))
            leaving = True
        else:
            running.append(pod)
    if not running and not leaving and suits.start:
        plan.create.append(name)
    if len(running) <= 1:
        return
    running.sort(key=lambda pod: (not is_ready(pod), pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))
    if not surge:
        plan.delete += running[1:]
        return
    new = [pod for pod in running if _is_new(pod, hashed)]
    old = [pod for pod in running if not _is_new(pod, hashed)]
    plan.delete += [*new[1:], *old[1:]]
    if new and old and (is_available(new[0], min_ready, now) or not is_available(old[0], min_ready, now)):
        plan.delete.append(old[0])


def roll(daemonset: Object, nodes: Sequence[Object], pods: ByNode, hashed: str, now: float) -> Plan:
    """The next step of a rolling update: old pods to delete, or (with surge) nodes that get a new one beside the old."""
    plan = Plan()
    suited = [node["metadata"]["name"] for node in nodes if fit(daemonset, node).start]
    surge, unavailable_limit = limits(daemonset, len(suited))
    min_ready = daemonset["spec"].get("minReadySeconds") or 0
    unavailable = surging = 0
    replaceable: list[Object] = []
    surge_nodes: list[str] = []
    for name in suited:
        living = [pod for pod in pods.get(name, ()) if pod["metadata"].get("deletionTimestamp") is None and not is_terminal(pod)]
        new = next((pod for pod in living if _is_new(pod, hashed)), None)
        old = next((pod for pod in living if not _is_new(pod, hashed)), None)
        if surge:
            if new is not None and not is_available(new, min_ready, now):
                surging += 1
            elif new is None and old is not None:
                (surge_nodes.append(name) if is_available(old, min_ready, now) else surge_nodes.insert(0, name))
            continue
        if old is None:
            unavailable += new is None or not is_available(new, min_ready, now)
        elif new is None and not is_available(old, min_ready, now):
            plan.delete.append(old)  # it serves nobody: replacing it costs nothing
            unavailable += 1
        elif new is None:
            replaceable.append(old)
    if surge:
        plan.create = surge_nodes[: max(surge - surging, 0)]
        return plan
    plan.delete += replaceable[: max(unavailable_limit - unavailable, 0)]
    return plan


def new_status(daemonset: Object, nodes: Sequence[Object], pods: ByNode, hashed: str, now: float) -> Object:
    min_ready = daemonset["spec"].get("minReadySeconds") or 0
    counts = dict.fromkeys(("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
                            "updatedNumberScheduled", "numberAvailable"), 0)
    for node in nodes:
        present = [pod for pod in pods.get(node["metadata"]["name"], ()) if phase(pod) not in ("Succeeded", "Failed")]
        if not fit(daemonset, node).start:
            counts["numberMisscheduled"] += bool(present)
            continue
        counts["desiredNumberScheduled"] += 1
        if not present:
            continue
        counts["currentNumberScheduled"] += 1
        oldest = min(present, key=lambda pod: (not is_ready(pod), pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))
        counts["numberReady"] += is_ready(oldest)
        counts["numberAvailable"] += is_available(oldest, min_ready, now)
        counts["updatedNumberScheduled"] += any(_is_new(pod, hashed) for pod in present)
    counts["numberUnavailable"] = counts["desiredNumberScheduled"] - counts["numberAvailable"]
    always = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    status: Object = {name: value for name, value in counts.items() if value or name in always}
    status["observedGeneration"] = daemonset["metadata"].get("generation", 0)
    old = daemonset.get("status") or {}
    for name in ("collisionCount", "conditions"):
        if old.get(name) is not None:
            status[name] = old[name]
    return status


def _is_new(pod: Object, hashed: str) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(HASH_LABEL) == hashed)
