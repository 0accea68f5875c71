"""Performs in-place resizes for one pod and remembers what its containers really have."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import orjson

from kubepy.api.types import Object
from kubepy.kubelet import metric
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import PodView
from kubepy.kubelet.pod.resize import Resources, plan_resize, with_resources

if TYPE_CHECKING:
    from kubepy.kubelet.pod.worker import Shared


def summary(pod: Object, error: str = "") -> str:
    """What the events say of the pod: its containers' resources, as upstream writes them."""
    def shown(containers: Iterable[Object]) -> list[Object]:
        return [{"name": container["name"], "resources": {
            side: dict(sorted(container["resources"][side].items())) for side in ("limits", "requests")
            if (container.get("resources") or {}).get(side)}} for container in containers]

    found: Object = {}
    if sidecars := shown(container for container in podspec.init_containers(pod) if podspec.is_sidecar(container)):
        found["initContainers"] = sidecars
    found["containers"] = shown(podspec.containers(pod))
    found["generation"] = pod["metadata"].get("generation", 0)
    if error:
        found["error"] = error
    return orjson.dumps(found).decode()


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
        resize = plan_resize(pod, view, self.actual, shared.others(self._uid), shared.allocatable(),
                             exclusive=shared.has_cpus(self._uid))
        if resize.pending is not None:
            before, self.condition = self.condition, ("PodResizePending", *resize.pending)
            if before != self.condition:
                reason, why = resize.pending
                if reason == "Infeasible":
                    metric.RESIZES.labels("insufficient_node_allocatable" if "capacity" in why else "static_pod_or_exclusive_cpus").inc()
                shared.events.event(pod, "Warning", f"Resize{reason}", f"Pod resize {reason}: {summary(pod, why)}")
                report()
            return False
        if not resize.changes:
            self.condition = None
            return False
        if self.condition is None or self.condition[0] != "PodResizeInProgress":
            self.condition = ("PodResizeInProgress", "", "")
            shared.events.event(pod, "Normal", "ResizeStarted", f"Pod resize started: {summary(pod)}")
            report()
        shared.cgroups.relax(pod)  # containers must fit at every moment
        for instance in resize.updates:
            container = podspec.find_container(pod, instance.name) or {"name": instance.name}
            try:
                await shared.actor.resize(pod, container, instance.id)
            except CriError as error:
                before, self.condition = self.condition, ("PodResizeInProgress", "Error", error.message)
                if before != self.condition:
                    shared.events.event(pod, "Warning", "ResizeError", f"Pod resize error: {summary(pod, error.message)}")
                    report()
                shared.cgroups.ensure(pod)
                raise
            self.started(instance.id, container)
        for instance in resize.restarts:
            restart(podspec.find_container(pod, instance.name) or {"name": instance.name})
            await shared.actor.kill(pod, instance.id, instance.name, f"Container {instance.name} resize requires restart", None)
        shared.cgroups.ensure(pod)
        self.condition = None
        shared.events.event(pod, "Normal", "ResizeCompleted", f"Pod resize completed: {summary(pod)}")
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
