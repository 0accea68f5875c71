"""Resource usage: `/stats/summary`, `/metrics/resource` and the cAdvisor metrics that monitoring relies on, from CRI and cgroups."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubepy.base.clock import Clock, format_time, parse_time
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.node.machine import meminfo
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.server import pressure
from kubepy.kubelet.settings import Settings

_CACHE = 2.0


@dataclass(slots=True)
class _Sample:
    at: float
    cpu: int


class Statistics:
    """Measured on demand, not more often than every two seconds."""

    def __init__(self, settings: Settings, runtime: Runtime, clock: Clock,
                 volumes: Callable[[str], list[dict[str, Any]]] = lambda uid: [],
                 pressures: pressure.Pressures | None = None) -> None:
        """`volumes(uid)` are a pod's volumes as last measured."""
        self._pressures = pressures
        self._settings = settings
        self._runtime = runtime
        self._clock = clock
        self._volumes = volumes
        self._held: tuple[float, list[pb.ContainerStats], list[pb.PodSandboxStats]] | None = None
        self._samples: dict[str, _Sample] = {}
        self._lock = asyncio.Lock()
        self._started = clock.now()
        self._created: dict[str, float] = {}
        """When each container was made, seconds since the epoch; and its image."""
        self._images: dict[str, str] = {}

    async def _measure(self) -> tuple[list[pb.ContainerStats], list[pb.PodSandboxStats]]:
        async with self._lock:
            now = self._clock.monotonic()
            if self._held is None or now - self._held[0] > _CACHE:
                known = await self._runtime.list_containers()
                containers = _running(await self._runtime.container_stats(), known)
                self._created = {entry.id: entry.created_at / 1e9 for entry in known}
                self._images = {entry.id: entry.image.user_specified_image or entry.image.image for entry in known}
                try:
                    sandboxes = list(await self._runtime.sandbox_stats())
                except CriError:
                    sandboxes = []  # fails as a whole while any sandbox has no cgroup parent
                self._held = (now, containers, sandboxes)
            return self._held[1], self._held[2]

    def _rate(self, key: str, usage: int, at: float) -> int | None:
        """Nano-cores since the sample before."""
        previous = self._samples.get(key)
        if previous is None or at - previous.at > 1.0:
            self._samples[key] = _Sample(at, usage)
        if previous is None or at <= previous.at or usage < previous.cpu:
            return None
        return int((usage - previous.cpu) / (at - previous.at))

    async def summary(self) -> dict[str, Any]:
        containers, sandboxes = await self._measure()
        pods: dict[str, dict[str, Any]] = {}
        networks = {stat.attributes.metadata.uid: stat for stat in sandboxes}
        for stat in containers:
            labels = stat.attributes.labels
            uid = labels.get(podspec.POD_UID, "")
            if not uid:
                continue
            reference = {"name": labels[podspec.POD_NAME], "namespace": labels[podspec.POD_NAMESPACE], "uid": uid}
            pod = pods.setdefault(uid, {"podRef": reference, "startTime": format_time(self._created.get(stat.attributes.id, self._started)),
                                        "containers": []})
            pod["containers"].append(self._container(stat))
        for uid, pod in pods.items():
            pod["cpu"] = _sum(pod["containers"], "cpu", ("usageNanoCores", "usageCoreNanoSeconds"))
            pod["memory"] = _sum(pod["containers"], "memory",
                                 ("usageBytes", "workingSetBytes", "rssBytes", "pageFaults", "majorPageFaults"))
            if self._pressures is not None:
                pressure.show(pod, pressure.of_group(self._pressures.pod(uid)), pod["cpu"]["time"])
            pod["volume"] = self._volumes(uid)
            pod["ephemeral-storage"] = _ephemeral(pod)
            if uid in networks:
                pod["network"] = _network(networks[uid].linux.network)
                pod["process_stats"] = {"process_count": networks[uid].linux.process.process_count.value}
        return {"node": self._node(), "pods": list(pods.values())}

    def _container(self, stat: pb.ContainerStats) -> dict[str, Any]:
        cpu, memory = stat.cpu, stat.memory
        usage = cpu.usage_core_nano_seconds.value
        rate = self._rate(stat.attributes.id, usage, cpu.timestamp / 1e9)
        stamp = format_time(cpu.timestamp / 1e9)
        shown: dict[str, Any] = {
            "name": stat.attributes.metadata.name,
            "startTime": format_time(self._created.get(stat.attributes.id, cpu.timestamp / 1e9)),
            "cpu": {"time": stamp, "usageCoreNanoSeconds": usage,
                    "usageNanoCores": cpu.usage_nano_cores.value if cpu.HasField("usage_nano_cores") else rate or 0},
            "memory": {"time": format_time(memory.timestamp / 1e9), "workingSetBytes": memory.working_set_bytes.value,
                       "usageBytes": memory.usage_bytes.value or memory.working_set_bytes.value, "rssBytes": memory.rss_bytes.value,
                       "pageFaults": memory.page_faults.value, "majorPageFaults": memory.major_page_faults.value}}
        if self._pressures is not None:
            group = self._pressures.container(stat.attributes.labels.get(podspec.POD_UID, ""), stat.attributes.id)
            pressure.show(shown, pressure.of_group(group), stamp)
        shown["rootfs"] = {"time": stamp, "usedBytes": stat.writable_layer.used_bytes.value,
                           "inodesUsed": stat.writable_layer.inodes_used.value}
        return shown

    def _node(self) -> dict[str, Any]:
        info = meminfo()
        now = self._clock.now()
        usage = _cpu_time()
        stamp = format_time(now)
        available = info.get("MemAvailable", 0)
        filesystem = _filesystem(self._settings.root_dir, stamp)
        shown: dict[str, Any] = {"nodeName": self._settings.node_name, "startTime": format_time(self._started),
                "cpu": {"time": stamp, "usageNanoCores": self._rate("node", usage, now) or 0, "usageCoreNanoSeconds": usage},
                "memory": {"time": stamp, "availableBytes": available, "usageBytes": info.get("MemTotal", 0) - info.get("MemFree", 0),
                           "workingSetBytes": info.get("MemTotal", 0) - available, "rssBytes": info.get("AnonPages", 0),
                           "pageFaults": 0, "majorPageFaults": 0},
                "fs": filesystem, "runtime": {"imageFs": filesystem, "containerFs": filesystem},
                "rlimit": {"time": stamp, "maxpid": int(_read("/proc/sys/kernel/pid_max") or 32768), "curproc": _processes()}}
        pressure.show(shown, pressure.of_node(), stamp)
        return shown

    async def resource_metrics(self) -> str:
        """Prometheus text, as `/metrics/resource` has it for the metrics server."""
        summary = await self.summary()
        node = summary["node"]
        lines = _Lines("[STABLE] ")
        for pod in summary["pods"]:
            reference = {"namespace": pod["podRef"]["namespace"], "pod": pod["podRef"]["name"]}
            for container in pod["containers"]:
                labels = {"container": container["name"], **reference}
                lines.add("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds",
                          labels, container["cpu"]["usageCoreNanoSeconds"] / 1e9, _moment(container["cpu"]))
                lines.add("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", labels,
                          container["memory"]["workingSetBytes"], _moment(container["memory"]))
                lines.add("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds", labels,
                          _moment({"time": container["startTime"]}))
            lines.add("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", reference,
                      pod["cpu"]["usageCoreNanoSeconds"] / 1e9, _moment(pod["cpu"]))
            lines.add("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", reference,
                      pod["memory"]["workingSetBytes"], _moment(pod["memory"]))
        lines.add("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds", {},
                  node["cpu"]["usageCoreNanoSeconds"] / 1e9, _moment(node["cpu"]))
        lines.add("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", {},
                  node["memory"]["workingSetBytes"], _moment(node["memory"]))
        lines.add("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise", {}, 0)
        return lines.text()

    async def cadvisor_metrics(self) -> str:
        containers, sandboxes = await self._measure()
        lines = _Lines()
        for stat in containers:
            labels = stat.attributes.labels
            shown = {"container": stat.attributes.metadata.name, "id": f"/{stat.attributes.id}", "name": stat.attributes.id,
                     "image": self._images.get(stat.attributes.id, ""),
                     "namespace": labels.get(podspec.POD_NAMESPACE, ""), "pod": labels.get(podspec.POD_NAME, "")}
            lines.add("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", {**shown, "cpu": "total"},
                      stat.cpu.usage_core_nano_seconds.value / 1e9)
            lines.add("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", shown,
                      stat.memory.working_set_bytes.value)
            lines.add("container_memory_usage_bytes", "gauge",
                      "Current memory usage in bytes, including all memory regardless of when it was accessed", shown,
                      stat.memory.usage_bytes.value or stat.memory.working_set_bytes.value)
            lines.add("container_memory_rss", "gauge", "Size of RSS in bytes.", shown, stat.memory.rss_bytes.value)
            for kind, value in (("pgfault", stat.memory.page_faults.value), ("pgmajfault", stat.memory.major_page_faults.value)):
                lines.add("container_memory_failures_total", "counter", "Cumulative count of memory allocation failures.",
                          {**shown, "failure_type": kind, "scope": "container"}, value)
            lines.add("container_fs_usage_bytes", "gauge", "Number of bytes that are consumed by the container on this filesystem.",
                      {**shown, "device": ""}, stat.writable_layer.used_bytes.value)
            lines.add("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", shown,
                      self._created.get(stat.attributes.id, 0.0))
            lines.add("container_last_seen", "gauge", "Last time a container was seen by the exporter", shown, self._clock.now())
            if self._pressures is not None:
                group = self._pressures.container(labels.get(podspec.POD_UID, ""), stat.attributes.id)
                stalls = pressure.of_group(group)
                for name, kind, part, text in pressure.METRICS:
                    if kind in stalls:
                        lines.add(name, "counter", text, shown, stalls[kind].get(part, {}).get("total", 0) / 1e6)
        for sandbox in sandboxes:
            metadata, usage = sandbox.attributes.metadata, sandbox.linux.network.default_interface
            shown = {"container": "", "id": f"/{sandbox.attributes.id}", "image": "", "interface": usage.name or "eth0",
                     "name": sandbox.attributes.id, "namespace": metadata.namespace, "pod": metadata.name}
            lines.add("container_network_receive_bytes_total", "counter", "Cumulative count of bytes received", shown, usage.rx_bytes.value)
            lines.add("container_network_transmit_bytes_total", "counter", "Cumulative count of bytes transmitted", shown,
                      usage.tx_bytes.value)
            lines.add("container_network_receive_errors_total", "counter", "Cumulative count of errors encountered while receiving", shown,
                      usage.rx_errors.value)
            lines.add("container_network_transmit_errors_total", "counter", "Cumulative count of errors encountered while transmitting",
                      shown, usage.tx_errors.value)
        lines.add("machine_cpu_cores", "gauge", "Number of logical CPU cores.", {}, os.cpu_count() or 0)
        lines.add("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.", {}, meminfo().get("MemTotal", 0))
        return lines.text()


class _Lines:
    """Prometheus text, samples grouped by name."""

    def __init__(self, stability: str = "") -> None:
        self._stability = stability
        self._families: dict[str, list[str]] = {}

    def add(self, name: str, kind: str, help_text: str, labels: Mapping[str, str], value: float, at: float | None = None) -> None:
        """`at`: when it was measured, in seconds since the epoch."""
        family = self._families.setdefault(name, [f"# HELP {name} {self._stability}{help_text}", f"# TYPE {name} {kind}"])
        shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
        stamp = "" if at is None else f" {int(at * 1000)}"
        family.append(f"{name}{{{shown}}} {value:.17g}{stamp}" if shown else f"{name} {value:.17g}{stamp}")

    def text(self) -> str:
        return "\n".join(line for name in sorted(self._families) for line in self._families[name]) + "\n"


def _moment(entry: Mapping[str, Any]) -> float:
    return parse_time(entry["time"])


def _running(stats: Iterable[pb.ContainerStats], known: Iterable[pb.Container]) -> list[pb.ContainerStats]:
    """Those of running containers, of each container of a pod the newest: what has ended uses nothing, and must not be counted beside
    what took its place (upstream's removeTerminatedContainers)."""
    newest: dict[tuple[str, str], pb.Container] = {}
    for entry in known:
        key = entry.labels.get(podspec.POD_UID, ""), entry.metadata.name
        if entry.state == pb.CONTAINER_RUNNING and (key not in newest or entry.created_at > newest[key].created_at):
            newest[key] = entry
    kept = {entry.id for entry in newest.values()}
    return [stat for stat in stats if stat.attributes.id in kept]


def _sum(containers: list[dict[str, Any]], part: str, names: tuple[str, ...]) -> dict[str, Any]:
    total: dict[str, Any] = {"time": containers[0][part]["time"]}
    for name in names:
        total[name] = sum(container[part].get(name, 0) for container in containers)
    return total


def _ephemeral(pod: dict[str, Any]) -> dict[str, Any]:
    """What the pod takes of the node's disk: its containers' layers, and its volumes that lie there."""
    parts = [container["rootfs"] for container in pod["containers"]] + [entry for entry in pod["volume"] if "pvcRef" not in entry]
    return {"time": pod["containers"][0]["rootfs"]["time"], "usedBytes": sum(part.get("usedBytes", 0) for part in parts),
            "inodesUsed": sum(part.get("inodesUsed", 0) for part in parts)}


def _network(usage: pb.NetworkUsage) -> dict[str, Any]:
    def shown(interface: pb.NetworkInterfaceUsage) -> dict[str, Any]:
        return {"name": interface.name, "rxBytes": interface.rx_bytes.value, "rxErrors": interface.rx_errors.value,
                "txBytes": interface.tx_bytes.value, "txErrors": interface.tx_errors.value}

    return {"time": format_time(usage.timestamp / 1e9), **shown(usage.default_interface),
            "interfaces": [shown(interface) for interface in (usage.default_interface, *usage.interfaces)]}


def _filesystem(path: str, stamp: str) -> dict[str, Any]:
    stat = os.statvfs(path)
    return {"time": stamp, "availableBytes": stat.f_bavail * stat.f_frsize, "capacityBytes": stat.f_blocks * stat.f_frsize,
            "usedBytes": (stat.f_blocks - stat.f_bfree) * stat.f_frsize, "inodesFree": stat.f_favail, "inodes": stat.f_files,
            "inodesUsed": stat.f_files - stat.f_ffree}


def _cpu_time() -> int:
    """Nanoseconds all CPUs have worked."""
    fields = _read("/proc/stat").split("\n", 1)[0].split()[1:]
    if len(fields) < 8:
        return 0
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) * 10**9 // os.sysconf("SC_CLK_TCK")


def _processes() -> int:
    parts = _read("/proc/loadavg").split()
    return int(parts[3].partition("/")[2]) if len(parts) > 3 else 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
