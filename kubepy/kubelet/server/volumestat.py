"""How full pods' volumes are: measured every minute for `/stats/summary` and the metrics `kubelet_volume_stats_*`.

As upstream: a driver says it of its own volumes (NodeGetVolumeStats); of file systems of one's own it is the file system's usage; of
directories on the node's disk it is what lies in them. hostPath volumes are nobody's to measure.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.kubelet.csi import csi_pb2 as csi
from kubepy.kubelet.csi.volume import CsiVolumes
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import RpcError

log = get_logger("stats")
_METRICS = (("capacity_bytes", "capacityBytes", "Capacity in bytes of the volume"),
            ("available_bytes", "availableBytes", "Number of available bytes in the volume"),
            ("used_bytes", "usedBytes", "Number of used bytes in the volume"),
            ("inodes", "inodes", "Maximum number of inodes in the volume"),
            ("inodes_free", "inodesFree", "Number of free inodes in the volume"),
            ("inodes_used", "inodesUsed", "Number of used inodes in the volume"))
Usage = dict[str, Any]


class VolumeStatistics(Collector):
    """`pods` are those that run; `paths(uid)` tells where each of a pod's volumes is."""

    def __init__(self, pods: Callable[[], list[Object]], paths: Callable[[str], Mapping[str, Path]], volumes: CsiVolumes,
                 clock: Clock, period: float = 60.0) -> None:
        self._pods = pods
        self._paths = paths
        self._csi = volumes
        self._clock = clock
        self._period = period
        self._held: dict[str, list[Usage]] = {}

    def of(self, uid: str) -> list[Usage]:
        """As the summary lists them."""
        return self._held.get(uid, [])

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._period)
            await self.measure()

    async def measure(self) -> None:
        held: dict[str, list[Usage]] = {}
        for pod in self._pods():
            uid = podspec.uid_of(pod)
            paths = self._paths(uid)
            for volume in pod["spec"].get("volumes") or ():
                if volume["name"] in paths and "hostPath" not in volume:
                    usage = await self._volume(pod, volume, paths[volume["name"]])
                    if usage is not None:
                        held.setdefault(uid, []).append(usage)
        self._held = held

    async def _volume(self, pod: Object, volume: Object, path: Path) -> Usage | None:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if volume.get("ephemeral") is not None:
            claim = f"{pod['metadata']['name']}-{volume['name']}"
        try:
            if path.parent.parent.name == "kubernetes.io~csi":
                data = orjson.loads(await asyncio.to_thread((path.parent / "vol_data.json").read_bytes))
                answer = await self._csi.usage(data["driverName"], data["volumeHandle"], path)
                if answer is None:
                    return None
                usage = of_driver(answer)
            else:
                own = claim is not None or volume.get("nfs") is not None or (volume.get("emptyDir") or {}).get("medium") == "Memory"
                usage = await asyncio.to_thread(_filesystem if own else _directory, path)
        except (OSError, ValueError, KeyError, RpcError) as error:
            log.v(2).info("Cannot measure a volume", pod=podspec.full_name(pod), volume=volume["name"], err=error)
            return None
        usage = {"time": format_time(self._clock.now()), **usage, "name": volume["name"]}
        if claim is not None:
            usage["pvcRef"] = {"name": claim, "namespace": pod["metadata"].get("namespace") or "default"}
        return usage

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Claims, each once however many pods use it."""
        claims = {(entry["pvcRef"]["namespace"], entry["pvcRef"]["name"]): entry
                  for entries in self._held.values() for entry in entries if "pvcRef" in entry}
        for name, key, text in _METRICS:
            family = GaugeMetricFamily(f"kubelet_volume_stats_{name}", text, labels=("namespace", "persistentvolumeclaim"))
            for labels, entry in sorted(claims.items()):
                if key in entry:
                    family.add_metric(labels, entry[key])
            yield family


def of_driver(answer: csi.NodeGetVolumeStatsResponse) -> Usage:
    found: Usage = {}
    for entry in answer.usage:
        if entry.unit == csi.VolumeUsage.BYTES:
            found.update(availableBytes=int(entry.available), capacityBytes=int(entry.total), usedBytes=int(entry.used))
        elif entry.unit == csi.VolumeUsage.INODES:
            found.update(inodesFree=int(entry.available), inodes=int(entry.total), inodesUsed=int(entry.used))
    if answer.HasField("volume_condition"):
        found["volumeHealthStats"] = {"abnormal": bool(answer.volume_condition.abnormal)}
    return found


def _filesystem(path: Path) -> Usage:
    stat = os.statvfs(path)
    return {"availableBytes": stat.f_bavail * stat.f_frsize, "capacityBytes": stat.f_blocks * stat.f_frsize,
            "usedBytes": (stat.f_blocks - stat.f_bfree) * stat.f_frsize, "inodesFree": stat.f_favail, "inodes": stat.f_files,
            "inodesUsed": stat.f_files - stat.f_ffree}


def _directory(path: Path) -> Usage:
    """What lies below it, and what its file system has left."""
    used, inodes = 0, 1
    for folder, directories, names in os.walk(path):
        inodes += len(directories) + len(names)
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return {**_filesystem(path), "usedBytes": used, "inodesUsed": inodes}
