"""Watches the node's resources and evicts at thresholds, hard and soft; a pressure is shown for some minutes after it has gone.

Known differences: memory is what the kernel calls available; when process IDs run out, pods go by priority alone; the kernel's memory
notifications are not used.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.kubelet import metric
from kubepy.kubelet.container.sandbox import log_directory
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.eviction.local import exceeded, limited
from kubepy.kubelet.eviction.rank import RESOURCES, Crossed, Observation, Watcher, message, rank, thresholds
from kubepy.kubelet.node.machine import meminfo
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.manager import Pods
from kubepy.kubelet.server.stat import Statistics
from kubepy.kubelet.settings import Settings

log = get_logger("eviction")
_LOOK = 10.0


class Eviction:
    def __init__(self, settings: Settings, pods: Pods, statistics: Statistics, events: Recorder, clock: Clock,
                 collect: Callable[[], Awaitable[int]]) -> None:
        self._settings = settings
        self._pods = pods
        self._statistics = statistics
        self._events = events
        self._clock = clock
        self._collect = collect
        self._watcher = Watcher(thresholds(settings.eviction_hard, settings.eviction_soft, settings.eviction_soft_grace_period,
                                           settings.eviction_minimum_reclaim), settings.eviction_pressure_transition_period)

    def pressures(self) -> frozenset[str]:
        return self._watcher.pressures(self._clock.monotonic())

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_LOOK)
            try:
                await self.look()
            except (CriError, OSError) as error:
                log.warning("Cannot look at the node's resources", err=error)

    async def look(self) -> None:
        await self._look_at_limits()
        found = await self._crossed()
        if not found:
            return
        first = found[0]
        log.warning("Threshold crossed", signal=first.signal, available=first.available, threshold=first.threshold)
        if "fs." in first.signal and await self._collect():
            found = await self._crossed()
            if first.signal not in {item.signal for item in found}:
                return
        resource = RESOURCES[first.signal]
        by_container = await self._usage(resource)
        totals = {uid: {resource: sum(parts.values())} for uid, parts in by_container.items()}
        running = [worker.pod for worker in self._pods.workers() if worker.state == "running"]
        for pod in rank(running, totals, resource)[:1]:
            text = message(pod, first, by_container.get(podspec.uid_of(pod), {}))
            metric.EVICTIONS.labels(first.signal).inc()
            grace = min(self._settings.eviction_max_pod_grace_period, podspec.grace_of(pod)) if first.soft else 1
            self._evict(pod, text, grace)

    async def _crossed(self) -> list[Crossed]:
        return self._watcher.observe(await asyncio.to_thread(self.observe), self._clock.monotonic())

    def _evict(self, pod: Object, text: str, grace: int = 1) -> None:
        worker = self._pods.worker(podspec.uid_of(pod))
        if worker is not None:
            log.warning("Evicting a pod", pod=podspec.full_name(pod), why=text)
            self._events.event(pod, "Warning", "Evicted", text)
            worker.end(grace=grace, failed=("Evicted", text))

    def observe(self) -> dict[str, Observation]:
        info = meminfo()
        stat = os.statvfs(self._settings.root_dir)
        space = Observation(stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize)
        inodes = Observation(stat.f_favail, stat.f_files)
        pids = process_ids()
        return {"pid.available": pids,
                "memory.available": Observation(info.get("MemAvailable", 0), info.get("MemTotal", 0)), "nodefs.available": space,
                "nodefs.inodesFree": inodes, "imagefs.available": space, "imagefs.inodesFree": inodes}

    async def _usage(self, resource: str) -> dict[str, dict[str, int]]:
        """By pod and container."""
        result: dict[str, dict[str, int]] = {}
        for pod in (await self._statistics.summary())["pods"]:
            parts = result.setdefault(pod["podRef"]["uid"], {})
            for container in pod["containers"]:
                if resource == "memory":
                    parts[container["name"]] = container["memory"]["workingSetBytes"]
                elif resource != "pids":
                    parts[container["name"]] = container["rootfs"]["usedBytes" if resource == "ephemeral-storage" else "inodesUsed"]
        return result

    async def _look_at_limits(self) -> None:
        """Pods that have outgrown limits of their own are evicted, whatever the node has left."""
        pods = [worker.pod for worker in self._pods.workers() if worker.state == "running" and limited(worker.pod)]
        if not pods:
            return
        layers = await self._usage("ephemeral-storage")
        for pod in pods:
            volumes, containers = await asyncio.to_thread(self._local, pod, layers.get(podspec.uid_of(pod), {}))
            if text := exceeded(pod, volumes, containers):
                self._evict(pod, text)

    def _local(self, pod: Object, layers: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """(bytes of volumes on the node's disk, of containers' layers and logs)."""
        home, logs = Path(self._settings.pods_dir, podspec.uid_of(pod), "volumes"), Path(log_directory(self._settings, pod))
        volumes = {}
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("emptyDir") is not None and not volume["emptyDir"].get("medium"):
                volumes[volume["name"]] = _size(home / "kubernetes.io~empty-dir" / volume["name"])
            elif volume.get("configMap") is not None:
                volumes[volume["name"]] = _size(home / "kubernetes.io~configmap" / volume["name"])
        containers = {container["name"]: layers.get(container["name"], 0) + _size(logs / container["name"])
                      for container in podspec.every_container(pod)}
        return volumes, containers


def process_ids() -> Observation:
    """How many processes the kernel can still start."""
    limits = [int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max")]
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    return Observation(min(limits) - running, min(limits))


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
