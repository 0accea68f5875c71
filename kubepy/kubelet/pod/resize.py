"""In-place resize: whether the node can give what a pod asks for now, and what to change in its running containers. Pure.

A resize the node can never hold is Infeasible, one it cannot hold now is Deferred; meanwhile the pod keeps what it has. Otherwise
the runtime is told the new numbers, and containers whose resize policy says so are restarted.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubepy.api.scheduling import amounts, pod_requests
from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.allocation import Resources, differs
from kubepy.kubelet.pod.observed import RUNNING, ContainerView, PodView

POD = ""
Pending = tuple[str, str, str]
"""(Infeasible or Deferred, message, the metric's word for why)."""


@dataclass(frozen=True, slots=True)
class Resize:
    """Nothing to do when all is empty."""

    updates: tuple[ContainerView, ...] = ()
    restarts: tuple[ContainerView, ...] = ()
    whole: bool = False
    """The pod's own resources change."""

    @property
    def changes(self) -> bool:
        return bool(self.updates or self.restarts or self.whole)


def pending(pod: Object, others: Sequence[Object], allocatable: Mapping[str, int], *, exclusive_cpus: bool = False,
            exclusive_memory: bool = False) -> Pending | None:
    """Why the pod cannot have what it asks for; `others` are the node's other pods with what they were given."""
    if podspec.is_static(pod):
        return "Infeasible", "In-place resize of static-pods is not supported", "static_pod"
    for exclusive, manager, word in ((exclusive_cpus, "CPU", "guaranteed_pod_cpu_manager_static_policy"),
                                     (exclusive_memory, "Memory", "guaranteed_pod_memory_manager_static_policy")):
        if exclusive:
            return "Infeasible", f"Resize is infeasible for Guaranteed Pods alongside {manager} Manager static policy", word
    wanted = pod_requests(pod)
    used: dict[str, int] = {}
    for other in others:
        for name, value in pod_requests(other).items():
            used[name] = used.get(name, 0) + value
    for name in ("cpu", "memory"):
        capacity, value = allocatable.get(name, 0), wanted.get(name, 0)
        if value > capacity:
            return "Infeasible", f"Node didn't have enough capacity: {name}, requested: {value}, capacity: {capacity}", \
                "insufficient_node_allocatable"
        if value + used.get(name, 0) > capacity:
            return "Deferred", f"Node didn't have enough resource: {name}, requested: {value}, used: {used.get(name, 0)}, " \
                               f"capacity: {capacity}", ""
    return None


def plan_resize(pod: Object, seen: PodView, actual: Mapping[str, Resources]) -> Resize:
    """What brings running containers to what the pod was given; `actual` is what each has, by its ID (the pod itself under "")."""
    updates, restarts = [], []
    for container in (*podspec.init_containers(pod), *podspec.containers(pod)):
        view = seen.newest(container["name"])
        if view is None or view.state != RUNNING or view.id not in actual:
            continue
        changed = differs(container.get("resources") or {}, actual[view.id])
        if not changed:
            continue
        policies = {entry["resourceName"]: entry["restartPolicy"] for entry in container.get("resizePolicy") or ()}
        if any(policies.get(name) == "RestartContainer" for name in changed):
            restarts.append(view)
        else:
            updates.append(view)
    whole = POD in actual and bool(differs(pod["spec"].get("resources") or {}, actual[POD]))
    return Resize(tuple(updates), tuple(restarts), whole)


def shrinks_memory(wanted: Resources, actual: Resources) -> int:
    """The new limit of memory where it is less than the old one (or there was none), else 0."""
    new, old = (amounts(side.get("limits")).get("memory", 0) for side in (wanted, actual))
    return new if new and (not old or new < old) else 0
