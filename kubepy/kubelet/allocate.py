"""What containers get of their own when their pod is admitted: CPUs and devices, on the NUMA nodes that the topology policy says."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Literal

from kubepy.api.types import Object
from kubepy.kubelet import metric
from kubepy.kubelet.cpu.manager import CpuManager
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.device.manager import Devices
from kubepy.kubelet.dra.manager import Claims
from kubepy.kubelet.memory.manager import MemoryManager
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.topology import REFUSAL, AllocationError, Distances, Hints, Policy, merge


class Extras:
    """What a container has of its own, for its configuration."""

    def __init__(self, cpus: CpuManager, memory: MemoryManager, devices: Devices, claims: Claims) -> None:
        self.cpus, self.memory, self.devices, self.claims = cpus, memory, devices, claims

    async def configure(self, pod: Object, container: Object, config: pb.ContainerConfig) -> None:
        """Raises AllocationError, ClaimError."""
        uid, name = podspec.uid_of(pod), container["name"]
        if cpuset := self.cpus.cpuset(uid, name):
            config.linux.resources.cpuset_cpus = cpuset
        if mems := self.memory.nodes(uid, name):
            config.linux.resources.cpuset_mems = mems
        self.devices.configure(uid, name, config)
        config.CDI_devices.extend(pb.CDIDevice(name=entry) for entry in self.claims.cdi_devices(pod, container))
        await self.devices.pre_start(uid, name)


Refusal = tuple[str, str] | None


class Allocator:
    """One pod after the other; what a pod was given stays its own until it has ended."""

    def __init__(self, cpus: CpuManager, memory: MemoryManager, devices: Devices, policy: Policy, scope: Literal["container", "pod"],
                 nodes: frozenset[int], known: Callable[[str], bool], distances: Distances = MappingProxyType({})) -> None:
        """`nodes` are the machine's NUMA nodes, `known(uid)` whether a pod still uses what it has; with `distances` nodes near to each
        other are preferred."""
        self._distances = distances
        self.cpus = cpus
        self.memory = memory
        self.devices = devices
        self._policy = policy
        self._scope = scope
        self._nodes = nodes
        self._known = known
        self._turn = asyncio.Lock()

    def release(self) -> None:
        self.cpus.release(self._known)
        self.memory.release(self._known)
        self.devices.release(self._known)

    async def admit(self, pod: Object) -> Refusal:
        """Gives the pod's containers what they ask for; (reason, message) when that cannot be."""
        if self._policy != "none":
            metric.TOPOLOGY_REQUESTS.inc()
        containers = [*podspec.init_containers(pod), *podspec.containers(pod)]
        async with self._turn:
            self.release()
            try:
                if self._scope == "pod" and self._policy != "none":
                    hints = [entry for container in containers for entry in self._hints(pod, container)]
                    best, admitted = merge(self._policy, self._nodes, hints, self._distances)
                    if not admitted:
                        metric.TOPOLOGY_ERRORS.inc()
                        return REFUSAL
                    for container in containers:
                        await self._give(pod, container, best.nodes)
                    return None
                for container in containers:
                    best, admitted = merge(self._policy, self._nodes, self._hints(pod, container), self._distances)
                    if not admitted:
                        metric.TOPOLOGY_ERRORS.inc()
                        return REFUSAL
                    await self._give(pod, container, best.nodes)
            except AllocationError as error:
                if error.reason:
                    return error.reason, str(error)
                return "UnexpectedAdmissionError", f"Allocate failed due to {error}, which is unexpected"
        return None

    def _hints(self, pod: Object, container: Object) -> Sequence[Hints]:
        if self._policy == "none":
            return []
        return [part.hints(pod, container, self._nodes) for part in (self.cpus, self.memory, self.devices)]

    async def _give(self, pod: Object, container: Object, nodes: frozenset[int] | None) -> None:
        self.cpus.allocate(pod, container, nodes)
        self.memory.allocate(pod, container, nodes)
        await self.devices.allocate(pod, container, nodes)
