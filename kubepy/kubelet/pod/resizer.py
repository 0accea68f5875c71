"""Performs in-place resizes for one pod and remembers what its containers really have."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import PodView
from kubepy.kubelet.pod.resize import Resources, plan_resize, with_resources

if TYPE_CHECKING:
    from kubepy.kubelet.pod.worker import Shared


class Resizer:
    def __init__(self, shared: Shared, uid: str) -> None:
        self._shared = shared
        self._uid = uid
        self.actual: dict[str, Resources] = {}
        """Resources of running containers, by ID."""
        self._by_name: dict[str, Resources] = {}
        self.condition: tuple[str, str, str] | None = None
        """(type, reason, message) of the pod's condition while a resize is pending or in progress."""

    def effective(self, pod: Object) -> Object:
        """The pod to start containers from: while a resize is pending they get what they had."""
        return pod if self.condition is None else with_resources(pod, self._by_name)

    def started(self, container_id: str, container: Object) -> None:
        self.actual[container_id] = self._by_name[container["name"]] = container.get("resources") or {}

    async def step(self, pod: Object, view: PodView, report: Callable[[], object], restart: Callable[[Object], None]) -> bool:
        """Brings running containers to what the pod asks for; returns whether anything was changed. Raises CriError.

        `report` writes the status, `restart` is told of containers that will be restarted for it."""
        shared = self._shared
        self._learn(pod, view)
        resize = plan_resize(pod, view, self.actual, shared.others(self._uid), shared.allocatable())
        if resize.pending is not None:
            before, self.condition = self.condition, ("PodResizePending", *resize.pending)
            if before != self.condition:
                shared.events.event(pod, "Warning", f"Resize{resize.pending[0]}", resize.pending[1])
                report()
            return False
        if not resize.changes:
            self.condition = None
            return False
        self.condition = ("PodResizeInProgress", "", "")
        report()
        shared.cgroups.relax(pod)  # containers must fit at every moment
        for instance in resize.updates:
            container = podspec.find_container(pod, instance.name) or {"name": instance.name}
            await shared.actor.resize(pod, container, instance.id)
            self.started(instance.id, container)
        for instance in resize.restarts:
            restart(podspec.find_container(pod, instance.name) or {"name": instance.name})
            await shared.actor.kill(pod, instance.id, instance.name, f"Container {instance.name} resize requires restart", None)
        shared.cgroups.ensure(pod)
        self.condition = None
        shared.events.event(pod, "Normal", "ResizeCompleted", f"Pod resize completed for generation {pod['metadata'].get('generation', 0)}")
        return True

    def _learn(self, pod: Object, view: PodView) -> None:
        """What containers that ran before this kubelet have is in the pod's status."""
        status = pod.get("status") or {}
        shown = {entry.get("containerID", "").rpartition("//")[2]: entry
                 for entry in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))}
        running = {instance.id: instance for instance in view.running()}
        self.actual = {key: resources for key, resources in self.actual.items() if key in running}
        for key, instance in running.items():
            if key not in self.actual:
                container = podspec.find_container(pod, instance.name) or {}
                known = shown.get(key, {}).get("resources")
                self.actual[key] = self._by_name[instance.name] = known if known is not None else container.get("resources") or {}
