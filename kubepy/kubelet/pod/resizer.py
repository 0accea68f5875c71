"""Performs in-place resizes for one pod: gives it what it asks for when there is room, then brings its containers to that."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import orjson

from kubepy.api.types import Object
from kubepy.kubelet import metric
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.allocation import Resources
from kubepy.kubelet.pod.observed import ContainerView, PodView
from kubepy.kubelet.pod.resize import POD, Resize, pending, plan_resize, shrinks_memory

if TYPE_CHECKING:
    from kubepy.kubelet.pod.shared import Shared

Condition = tuple[str, str, str]
"""(type, reason, message)."""
_PROGRESS = "PodResizeInProgress"


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
    if top := pod["spec"].get("resources"):
        found["podResources"] = {side: dict(sorted(top[side].items())) for side in ("limits", "requests") if top.get(side)}
    if error:
        found["error"] = error
    return orjson.dumps(found).decode()


class Resizer:
    def __init__(self, shared: Shared, uid: str) -> None:
        self._shared = shared
        self._uid = uid
        self.pending: Condition | None = None
        self.progress: Condition | None = None

    @property
    def actual(self) -> Mapping[str, Resources]:
        """Resources of running containers, by ID; the pod's own under ""."""
        return self._shared.allocations.applied(self._uid)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the pod's conditions say while a resize is pending or in progress."""
        return tuple(condition for condition in (self.pending, self.progress) if condition is not None)

    def started(self, container_id: str, container: Object) -> None:
        self._note({container_id: container.get("resources") or {}})

    def _note(self, resources: Mapping[str, Resources]) -> None:
        self._shared.allocations.apply(self._uid, {**self.actual, **resources})

    async def step(self, pod: Object, view: PodView, report: Callable[[], object], restart: Callable[[Object], None]) -> bool:
        """Gives the pod what it asks for, when that can be, and brings running containers to what was given; returns whether anything was
        changed. Raises CriError.

        `report` writes the status, `restart` is told of containers that will be restarted for it."""
        shared = self._shared
        self._learn(pod, view)
        before = self.pending
        self.pending = None
        if shared.allocations.resized(pod):
            why = pending(pod, shared.others(self._uid), shared.allocatable(), exclusive_cpus=shared.has_cpus(self._uid),
                          exclusive_memory=shared.has_memory(self._uid))
            if why is None:
                shared.allocations.give(pod)
            else:
                self.pending = ("PodResizePending", why[0], why[1])
        if self.pending is not None and before != self.pending:
            _, reason, text = self.pending
            if why is not None and why[2]:
                metric.RESIZES.labels(why[2]).inc()
            shared.events.event(pod, "Warning", f"Resize{reason}", f"Pod resize {reason}: {summary(pod, text)}")
            report()
        elif self.pending is None and before is not None:
            report()
        given = shared.allocations.of(pod)
        resize = plan_resize(given, view, self.actual)
        if not resize.changes:
            self.progress = None
            return False
        if self.progress is None:
            self.progress = (_PROGRESS, "", "")
            shared.events.event(pod, "Normal", "ResizeStarted", f"Pod resize started: {summary(given)}")
            report()
        await self._apply(given, resize, report, restart)
        self.progress = None
        shared.events.event(pod, "Normal", "ResizeCompleted", f"Pod resize completed: {summary(given)}")
        shared.resized()
        return True

    async def _apply(self, pod: Object, resize: Resize, report: Callable[[], object], restart: Callable[[Object], None]) -> None:
        shared = self._shared
        try:
            await self._check_memory(pod, resize.updates)
            await self._group(shared.cgroups.relax, pod)  # containers must fit at every moment
            for instance in resize.updates:
                container = podspec.find_container(pod, instance.name) or {"name": instance.name}
                await shared.actor.resize(pod, container, instance.id)
                self.started(instance.id, container)
        except CriError as error:
            before, self.progress = self.progress, (_PROGRESS, "Error", error.message)
            if before != self.progress:
                shared.events.event(pod, "Warning", "ResizeError", f"Pod resize error: {summary(pod, error.message)}")
                report()
            await self._group(shared.cgroups.ensure, pod)
            raise
        for instance in resize.restarts:
            restart(podspec.find_container(pod, instance.name) or {"name": instance.name})
            await shared.actor.kill(pod, instance.id, instance.name, f"Container {instance.name} resize requires restart", None)
        await self._group(shared.cgroups.ensure, pod)
        if resize.whole:
            self._note({POD: pod["spec"].get("resources") or {}})

    async def _check_memory(self, pod: Object, instances: Iterable[ContainerView]) -> None:
        """A limit below what a container uses would have it killed: that waits. Raises CriError."""
        for instance in instances:
            container = podspec.find_container(pod, instance.name) or {}
            limit = shrinks_memory(container.get("resources") or {}, self.actual.get(instance.id, {}))
            used = await self._shared.actor.memory_used(instance.id) if limit else 0
            if used > limit:
                text = f'attempting to set container "{instance.name}" memory limit ({limit}) below current usage ({used})'
                raise CriError("FAILED_PRECONDITION", text)

    async def _group(self, change: Callable[[Object], object], pod: Object) -> None:
        """Changes the pod's control group; systemd takes a moment to answer."""
        if self._shared.cgroups.slices is not None:
            await asyncio.to_thread(change, pod)
        else:
            change(pod)

    def _learn(self, pod: Object, view: PodView) -> None:
        """Containers of which nothing is noted (they ran before a kubelet that noted it) have what the pod's status says."""
        status = pod.get("status") or {}
        shown = {entry.get("containerID", "").rpartition("//")[2]: entry
                 for entry in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))}
        running = {instance.id: instance for instance in view.running()}
        found = {key: resources for key, resources in self.actual.items() if key in running or key == POD}
        for key, instance in running.items():
            if key not in found:
                container = podspec.find_container(self._shared.allocations.of(pod), instance.name) or {}
                known = shown.get(key, {}).get("resources")
                found[key] = known if known is not None else container.get("resources") or {}
        if POD not in found and running and (top := pod["spec"].get("resources")):
            found[POD] = status.get("resources") or top
        self._shared.allocations.apply(self._uid, found)
