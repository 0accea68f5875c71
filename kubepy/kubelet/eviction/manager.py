"""Watches the node's resources and acts on hard thresholds; a pressure is shown for five minutes after it has gone.

Known differences: no soft thresholds, and memory is what the kernel calls available.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from kubepy.api.scheduling import amount
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.kubelet import metric
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.eviction.rank import CONDITIONS, RESOURCES, Observation, crossed, message, rank
from kubepy.kubelet.node.machine import meminfo
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.manager import Pods
from kubepy.kubelet.server.stat import Statistics
from kubepy.kubelet.settings import Settings

log = get_logger("eviction")
_LOOK, _HOLD = 10.0, 300.0


class Eviction:
    def __init__(self, settings: Settings, pods: Pods, statistics: Statistics, events: Recorder, clock: Clock,
                 collect: Callable[[], Awaitable[int]]) -> None:
        self._settings = settings
        self._pods = pods
        self._statistics = statistics
        self._events = events
        self._clock = clock
        self._collect = collect
        self._until: dict[str, float] = {}

    def pressures(self) -> frozenset[str]:
        now = self._clock.monotonic()
        return frozenset(kind for kind, until in self._until.items() if now < until)

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_LOOK)
            try:
                await self.look()
            except (CriError, OSError) as error:
                log.warning("Cannot look at the node's resources", err=error)

    async def look(self) -> None:
        await self._look_at_volumes()
        found = crossed(self._settings.eviction_hard, await asyncio.to_thread(self.observe))
        for item in found:
            self._until[CONDITIONS[item.signal]] = self._clock.monotonic() + _HOLD
        if not found:
            return
        first = found[0]
        log.warning("Threshold crossed", signal=first.signal, available=first.available, threshold=first.threshold)
        if "fs." in first.signal and await self._collect():
            found = crossed(self._settings.eviction_hard, await asyncio.to_thread(self.observe))
            if first.signal not in {item.signal for item in found}:
                return
        resource = RESOURCES[first.signal]
        by_container = await self._usage(resource)
        totals = {uid: {resource: sum(parts.values())} for uid, parts in by_container.items()}
        running = [worker.pod for worker in self._pods.workers() if worker.state == "running"]
        for pod in rank(running, totals, resource)[:1]:
            text = message(pod, first, by_container.get(podspec.uid_of(pod), {}))
            metric.EVICTIONS.labels(first.signal).inc()
            self._evict(pod, text)

    def _evict(self, pod: Object, text: str) -> None:
        worker = self._pods.worker(podspec.uid_of(pod))
        if worker is not None:
            log.warning("Evicting a pod", pod=podspec.full_name(pod), why=text)
            self._events.event(pod, "Warning", "Evicted", text)
            worker.end(grace=1, failed=("Evicted", text))

    def observe(self) -> dict[str, Observation]:
        info = meminfo()
        stat = os.statvfs(self._settings.root_dir)
        space = Observation(stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize)
        inodes = Observation(stat.f_favail, stat.f_files)
        return {"memory.available": Observation(info.get("MemAvailable", 0), info.get("MemTotal", 0)), "nodefs.available": space,
                "nodefs.inodesFree": inodes, "imagefs.available": space, "imagefs.inodesFree": inodes}

    async def _usage(self, resource: str) -> dict[str, dict[str, int]]:
        """By pod and container."""
        result: dict[str, dict[str, int]] = {}
        for pod in (await self._statistics.summary())["pods"]:
            parts = result.setdefault(pod["podRef"]["uid"], {})
            for container in pod["containers"]:
                parts[container["name"]] = container["memory"]["workingSetBytes"] if resource == "memory" else \
                    container["rootfs"]["usedBytes" if resource == "ephemeral-storage" else "inodesUsed"]
        return result

    async def _look_at_volumes(self) -> None:
        """A pod whose emptyDir has outgrown its size limit is evicted."""
        for worker in self._pods.workers():
            if worker.state != "running":
                continue
            for volume in worker.pod["spec"].get("volumes") or ():
                source = volume.get("emptyDir") or {}
                limit = source.get("sizeLimit")
                if not limit or source.get("medium"):
                    continue
                path = Path(self._settings.pods_dir, worker.uid, "volumes", "kubernetes.io~empty-dir", volume["name"])
                if await asyncio.to_thread(_size, path) > amount("memory", limit):
                    self._evict(worker.pod, f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". ')
                    break


def _size(path: Path) -> int:
    """Bytes on disk of all that is below a directory."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total
