"""In-place resize: what to change in running containers when a pod's resources are another than theirs. Pure.

A resize the node can never hold is Infeasible, one it cannot hold now is Deferred; meanwhile the pod keeps what it has. Otherwise
the runtime is told the new numbers, and containers whose resize policy says so are restarted.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubepy.api.scheduling import amounts, pod_requests
from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import RUNNING, ContainerView, PodView

Resources = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resize:
    """Nothing to do when all is empty."""

    pending: tuple[str, str] | None = None
    """(Infeasible or Deferred, message)."""
    updates: tuple[ContainerView, ...] = ()
    restarts: tuple[ContainerView, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(self.updates or self.restarts)


def plan_resize(pod: Object, seen: PodView, actual: Mapping[str, Resources], others: Sequence[Object],
                allocatable: Mapping[str, int], *, exclusive: bool = False) -> Resize:
    """`actual` is what each running container has, by its ID; `others` are the node's other pods, `exclusive` whether it has CPUs of its
    own."""
    updates, restarts = [], []
    for container in (*podspec.init_containers(pod), *podspec.containers(pod)):
        view = seen.newest(container["name"])
        if view is None or view.state != RUNNING or view.id not in actual:
            continue
        changed = _changed(container.get("resources") or {}, actual[view.id])
        if not changed:
            continue
        policies = {entry["resourceName"]: entry["restartPolicy"] for entry in container.get("resizePolicy") or ()}
        if any(policies.get(name) == "RestartContainer" for name in changed):
            restarts.append(view)
        else:
            updates.append(view)
    if not updates and not restarts:
        return Resize()
    if podspec.is_static(pod):
        return Resize(("Infeasible", "In-place resize of static-pods is not supported"))
    if exclusive:
        return Resize(("Infeasible", "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy"))
    wanted = pod_requests(pod)
    used: dict[str, int] = {}
    for other in others:
        for name, value in pod_requests(other).items():
            used[name] = used.get(name, 0) + value
    for name in ("cpu", "memory"):
        capacity = allocatable.get(name, 0)
        if wanted.get(name, 0) > capacity:
            return Resize(("Infeasible", f"Node didn't have enough capacity: {name}, requested: {wanted[name]}, capacity: {capacity}"))
        if wanted.get(name, 0) + used.get(name, 0) > capacity:
            return Resize(("Deferred", f"Node didn't have enough resource: {name}, requested: {wanted[name]}, used: {used.get(name, 0)}, "
                                       f"capacity: {capacity}"))
    return Resize(None, tuple(updates), tuple(restarts))


def _changed(wanted: Resources, actual: Resources) -> set[str]:
    result = set()
    for side in ("requests", "limits"):
        new, old = amounts(wanted.get(side)), amounts(actual.get(side))
        result |= {name for name in ("cpu", "memory") if new.get(name) != old.get(name)}
    return result


def with_resources(pod: Object, actual: Mapping[str, Resources]) -> Object:
    """The pod as its containers (by name) really are: what is started again during a pending resize gets what it had."""
    def replaced(container: Object) -> Object:
        return {**container, "resources": dict(actual[container["name"]])} if container["name"] in actual else container

    spec = {**pod["spec"], "containers": [replaced(container) for container in podspec.containers(pod)]}
    if podspec.init_containers(pod):
        spec["initContainers"] = [replaced(container) for container in podspec.init_containers(pod)]
    return {**pod, "spec": spec}
