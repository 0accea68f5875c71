"""What the node has given each pod of CPU and memory, and what its containers really have: both outlive a restart of the kubelet.

A pod gets what it asks for when it is admitted. A resize is given (allocated) when there is room, and applied (actuated) after that; until
it is given, the node, its other pods and containers that start again go by what was given before. Follows upstream's allocation manager;
known difference: the files are of our own form (upstream's carry a checksum of Go's making). Only a resize waits for the disk: what a new
pod was given is what it asks for, and is written for many pods at once.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from kubepy.api.scheduling import amounts
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.kubelet.checkpoint import Checkpoint
from kubepy.kubelet.pod import spec as podspec

log = get_logger("allocation")
Resources = Mapping[str, Any]
_POD = ""
"""The name under which the pod's own resources are held."""


class Allocations:
    """By pod UID and container name what is given, by container ID what is applied."""

    def __init__(self, root: str) -> None:
        self.checkpoint = Checkpoint(Path(root, "allocated_pods_state"))
        self._changed = asyncio.Event()
        self._given: dict[str, dict[str, Resources]] = {}
        self._applied: dict[str, dict[str, Resources]] = {}

    def load(self) -> None:
        try:
            if state := self.checkpoint.load():
                self._given, self._applied = dict(state["allocated"]), dict(state["actuated"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("What pods were given cannot be read and is taken from the pods", path=str(self.checkpoint.path), err=error)

    async def run(self) -> None:
        """Writes what has changed, in a thread: a file system takes its time to replace a file."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.to_thread(self.checkpoint.put, self._state())

    def of(self, pod: Object) -> Object:
        """The pod with what it was given instead of what it asks for."""
        given = self._given.get(podspec.uid_of(pod))
        return pod if given is None or given == wanted(pod) else _with(pod, given)

    def admit(self, pod: Object) -> None:
        """The pod is given what it asks for, unless it was given something before."""
        if podspec.uid_of(pod) not in self._given:
            self._given[podspec.uid_of(pod)] = wanted(pod)
            self._changed.set()

    def give(self, pod: Object) -> None:
        """The pod is given what it asks for now."""
        self._given[podspec.uid_of(pod)] = wanted(pod)
        self.save()

    def resized(self, pod: Object) -> bool:
        """The pod asks for something else than it was given."""
        given = self._given.get(podspec.uid_of(pod))
        return given is not None and any(differs(resources, given.get(name, {})) for name, resources in wanted(pod).items())

    def applied(self, uid: str) -> Mapping[str, Resources]:
        return self._applied.get(uid, {})

    def apply(self, uid: str, applied: Mapping[str, Resources]) -> None:
        """All that is known of the pod's running containers, by ID; under "" the pod's own."""
        if self._applied.get(uid, {}) != applied:
            self._applied[uid] = dict(applied)
            self._changed.set()

    def release(self, known: Callable[[str], bool]) -> None:
        gone = [uid for uid in {*self._given, *self._applied} if not known(uid)]
        for uid in gone:
            self._given.pop(uid, None)
            self._applied.pop(uid, None)
        if gone:
            self._changed.set()

    def save(self) -> None:
        self.checkpoint.put(self._state())
        self._changed.set()  # a thread may be about to write what was before

    def _state(self) -> bytes:
        return orjson.dumps({"allocated": self._given, "actuated": self._applied})


def wanted(pod: Object) -> dict[str, Resources]:
    """The resources of every container that can have any, and of the pod itself under ""."""
    found = {container["name"]: container.get("resources") or {} for container in _containers(pod)}
    if top := pod["spec"].get("resources"):
        found[_POD] = top
    return found


def differs(one: Resources, other: Resources) -> set[str]:
    """In which of CPU and memory."""
    result = set()
    for side in ("requests", "limits"):
        new, old = amounts(one.get(side)), amounts(other.get(side))
        result |= {name for name in ("cpu", "memory") if new.get(name) != old.get(name)}
    return result


def _containers(pod: Object) -> Iterator[Object]:
    yield from podspec.init_containers(pod)
    yield from podspec.containers(pod)


def _with(pod: Object, given: Mapping[str, Resources]) -> Object:
    def replaced(container: Object) -> Object:
        return {**container, "resources": dict(given[container["name"]])} if container["name"] in given else container

    spec = {**pod["spec"], "containers": [replaced(container) for container in podspec.containers(pod)]}
    if podspec.init_containers(pod):
        spec["initContainers"] = [replaced(container) for container in podspec.init_containers(pod)]
    if _POD in given:
        spec["resources"] = dict(given[_POD])
    return {**pod, "spec": spec}
