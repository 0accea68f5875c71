"""The pod cgroup tree: `/kubepods[/burstable|/besteffort]/pod<uid>`, made, limited and removed (upstream's `pkg/kubelet/cm`).

With the cgroupfs driver paths are plain; with the systemd driver they are slices (`kubepods-burstable-pod<uid>.slice`), which systemd
makes where it runs (`slice`).
"""
from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from kubepy.api.scheduling import pod_limits, pod_requests
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.kubelet.cgroup.qos import memory_limits
from kubepy.kubelet.cgroup.slice import Limits, Slices
from kubepy.kubelet.container.resource import MAX_SHARES, PERIOD, cpu_quota, cpu_shares, cpu_weight
from kubepy.kubelet.pod import spec as podspec

log = get_logger("cgroup")
ROOT = Path("/sys/fs/cgroup")
Driver = Literal["cgroupfs", "systemd"]
_V1 = ("cpu", "cpuacct", "memory", "pids", "cpuset", "blkio", "freezer", "hugetlb", "devices")


def best_driver(root: Path = ROOT) -> Driver:
    """The one that fits this machine: with cgroup v2 under systemd, two managers of one tree would be one too many."""
    return "systemd" if (root / "cgroup.controllers").exists() and Slices.available() else "cgroupfs"


class Cgroups:
    """One node's tree below `parent` ("/" or a path of its own, for several kubelets on one machine)."""

    def __init__(self, parent: str = "/", *, driver: str = "cgroupfs", pids_limit: int = -1, root: Path = ROOT,
                 per_qos: bool = True, cfs_quota: bool = True, top: Limits | None = None, slices: Slices | None = None,
                 reserved: Mapping[str, str] = MappingProxyType({})) -> None:
        """`top` is what all pods together may have, `reserved` what of it is kept for better QoS (memory: a percentage)."""
        self.root = root
        self.driver = driver
        self.parent = parent.strip("/")
        self.pids_limit = pids_limit
        self.per_qos = per_qos
        """False (cgroupsPerQOS): pods have no cgroups of their own, the runtime puts containers where it likes."""
        self.cfs_quota = cfs_quota
        self.v2 = (root / "cgroup.controllers").exists()
        self.top = top or Limits(MAX_SHARES)
        self.reserved = reserved
        self.slices = slices
        self._applied: dict[str, Limits] = {}
        """What was set last: asked for again, only the directory must be there."""
        self._controllers: tuple[str, ...] | None = None
        if slices is None and driver == "systemd" and root == ROOT and Slices.available():
            self.slices = Slices(v2=self.v2)

    def pod_path(self, pod: Object) -> str:
        """What the runtime is told as the sandbox's parent."""
        if not self.per_qos:
            return ""
        return self.name(podspec.qos_class(pod), podspec.uid_of(pod))

    def name(self, quality: str, uid: str = "") -> str:
        parts = ["kubepods"]
        if quality != "Guaranteed":
            parts.append(quality.lower())
        if self.driver == "systemd":
            if uid:
                parts.append(f"pod{uid.replace('-', '_')}")
            prefix = "-".join(self.parent.split("/")) + "-" if self.parent else ""
            return f"{prefix}{'-'.join(parts)}.slice"
        if uid:
            parts.append(f"pod{uid}")
        return "/" + "/".join(([self.parent] if self.parent else []) + parts)

    def _relative(self, name: str) -> str:
        """The directory below a controller's root: a slice's is nested in its parents'."""
        if self.driver != "systemd":
            return name.strip("/")
        parts = name.removesuffix(".slice").split("-")
        return "/".join("-".join(parts[:end]) + ".slice" for end in range(1, len(parts) + 1))

    def directories(self, name: str) -> dict[str, Path]:
        """By controller; on v2 one directory, under ""."""
        relative = self._relative(name)
        if self.v2:
            return {"": self.root / relative}
        return {controller: self.root / controller / relative for controller in self._mounted()}

    def _mounted(self) -> tuple[str, ...]:
        if self._controllers is None:
            self._controllers = tuple(controller for controller in _V1 if (self.root / controller / "cgroup.procs").exists())
        return self._controllers

    def hierarchies(self) -> list[Path]:
        """The root of each; on v2 there is one."""
        return [self.root] if self.v2 else [self.root / controller for controller in self._mounted() if controller != "cpuset"]

    def start(self) -> None:
        """Makes the QoS level."""
        if not self.per_qos:
            return
        self._apply(self.name("Guaranteed"), self.top)
        for quality in ("Burstable", "BestEffort"):
            self._apply(self.name(quality), Limits())

    def balance(self, pods: Iterable[Object]) -> None:
        """Burstable pods together get the CPU they have asked for, beside the guaranteed ones; the others what is left. Memory that is
        reserved by QoS the lesser classes cannot use."""
        if self.per_qos:
            present = list(pods)
            burstable = sum(pod_requests(pod).get("cpu", 0) for pod in present if podspec.qos_class(pod) == "Burstable")
            memory = memory_limits(present, self.top.memory, self.reserved)
            self._apply(self.name("Burstable"), Limits(cpu_shares(burstable), memory=memory.get("Burstable", 0)))
            if memory:
                self._apply(self.name("BestEffort"), Limits(memory=memory["BestEffort"]))

    def ensure(self, pod: Object) -> str:
        """The pod's cgroup with its limits; returns its name for the runtime."""
        if not self.per_qos:
            return ""
        name = self.pod_path(pod)
        requests, limits = pod_requests(pod), pod_limits(pod)
        every = [*podspec.containers(pod), *podspec.init_containers(pod)]
        top = (pod["spec"].get("resources") or {}).get("limits") or {}
        limited = {kind: kind in top or all(kind in ((container.get("resources") or {}).get("limits") or {}) for container in every)
                   for kind in ("cpu", "memory")}
        quota = cpu_quota(limits.get("cpu", 0)) if limited["cpu"] and self.cfs_quota else 0
        memory = limits.get("memory", 0) if limited["memory"] else 0
        self._apply(name, Limits(cpu_shares(requests.get("cpu", 0)), quota, memory, max(self.pids_limit, 0)))
        return name

    def _apply(self, name: str, limits: Limits) -> None:
        directories = self.directories(name)
        if self._applied.get(name) == limits and all(map(os.path.exists, directories.values())):
            return
        done = self.slices is not None and self.slices.ensure(name, limits)
        self._make(directories)  # systemd does not know every controller
        if not done:
            values = [("cpu", "cpu.shares", str(limits.shares), "cpu.weight", str(cpu_weight(limits.shares))),
                      ("cpu", "cpu.cfs_quota_us", str(limits.quota or -1), "cpu.max", f"{limits.quota or 'max'} {PERIOD}"),
                      ("memory", "memory.limit_in_bytes", str(limits.memory or -1), "memory.max", str(limits.memory or "max"))]
            if limits.pids > 0:
                values.append(("pids", "pids.max", str(limits.pids), "pids.max", str(limits.pids)))
            done = all([self._set(directories, *value) for value in values])
        if done:
            self._applied[name] = limits

    def relax(self, pod: Object) -> None:
        """Lifts the pod's own limits for the moment in which its containers' change; `ensure` sets them again."""
        if not self.per_qos:
            return
        self._apply(self.pod_path(pod), Limits(cpu_shares(pod_requests(pod).get("cpu", 0)), pids=max(self.pids_limit, 0)))

    def remove(self, name: str) -> bool:
        """Removes a cgroup and what is below it; returns whether nothing is left."""
        gone = True
        self._applied.pop(name, None)
        directories = self.directories(name)
        if self.slices is not None and any(directory.exists() for directory in directories.values()):
            self.slices.remove(name)  # also one that a kubelet before this one has made
        for directory in directories.values():
            if not directory.exists():
                continue
            for folder, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            gone = gone and not directory.exists()
        return gone

    def remove_all(self) -> bool:
        """The whole tree of a kubelet that is done with this machine; returns whether nothing is left."""
        gone = all([self.remove(self.name(quality)) for quality in ("BestEffort", "Burstable", "Guaranteed")])
        return gone and (not self.parent or self.driver == "systemd" or self.remove("/" + self.parent))

    def remove_pod(self, uid: str) -> bool:
        """Ends what still runs in the pod's cgroup and removes it. A runtime leaves a process behind when the making of a sandbox was
        interrupted: only its cgroup tells whose it is."""
        if self.per_qos:
            for quality in ("Guaranteed", "Burstable", "BestEffort"):
                self._kill(self.name(quality, uid))
        return not self.per_qos or all([self.remove(self.name(quality, uid)) for quality in ("Guaranteed", "Burstable", "BestEffort")])

    def _kill(self, name: str) -> None:
        for controller, directory in self.directories(name).items():
            if controller not in ("", "pids", "memory"):
                continue
            for folder, _, _ in os.walk(directory):
                with contextlib.suppress(OSError):
                    for pid in Path(folder, "cgroup.procs").read_text().split():
                        if pid == "0":  # a process this one cannot see
                            continue
                        log.info("Killing a process that is left in a pod's cgroup", cgroup=folder, pid=pid)
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)

    def pods(self) -> set[str]:
        """The UIDs that have a cgroup."""
        if not self.per_qos:
            return set()
        found: set[str] = set()
        for quality in ("Guaranteed", "Burstable", "BestEffort"):
            for controller, directory in self.directories(self.name(quality)).items():
                if controller not in ("", "memory"):
                    continue
                with contextlib.suppress(OSError):
                    for entry in os.listdir(directory):
                        if self.driver == "systemd" and entry.endswith(".slice") and "-pod" in entry:
                            found.add(entry.removesuffix(".slice").rpartition("-pod")[2].replace("_", "-"))
                        elif entry.startswith("pod"):
                            found.add(entry.removeprefix("pod"))
        return found

    def _make(self, directories: Mapping[str, Path]) -> None:
        for controller, directory in directories.items():
            try:
                directory.mkdir(parents=True)
            except FileExistsError:
                continue
            if self.v2:
                self._delegate(directory)
            elif controller == "cpuset":
                self._inherit_cpuset(directory)

    def _delegate(self, directory: Path) -> None:
        """cgroup v2: every ancestor passes its controllers down."""
        for folder in [*reversed(directory.relative_to(self.root).parents)]:
            path = self.root / folder
            with contextlib.suppress(OSError):
                controllers = (path / "cgroup.controllers").read_text().split()
                (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))

    def _inherit_cpuset(self, directory: Path) -> None:
        """cgroup v1: a new cpuset is empty, and nothing can run in it."""
        for file in ("cpuset.cpus", "cpuset.mems"):
            with contextlib.suppress(OSError):
                inherited = (directory.parent / file).read_text()
                if not inherited.strip() and directory.parent.parent.is_relative_to(self.root / "cpuset"):
                    self._inherit_cpuset(directory.parent)
                    inherited = (directory.parent / file).read_text()
                if not (directory / file).read_text().strip():
                    (directory / file).write_text(inherited.strip())

    def _set(self, directories: Mapping[str, Path], controller: str, v1_file: str, v1_value: str, v2_file: str, v2_value: str) -> bool:
        directory = directories.get("" if self.v2 else controller)
        if directory is None:
            return True
        path, value = (directory / v2_file, v2_value) if self.v2 else (directory / v1_file, v1_value)
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            log.v(2).info("Cannot set a cgroup's value", path=str(path), value=value, err=error)
            return False
        return True
