"""The pod-resources API: a socket (`<root>/pod-resources/kubelet.sock`) where monitoring agents ask who has which devices and CPUs."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kubepy.api.types import Object
from kubepy.kubelet.cpu.manager import CpuManager
from kubepy.kubelet.device import podresources_pb2 as pb
from kubepy.kubelet.device.manager import Devices
from kubepy.kubelet.device.plugin import Device
from kubepy.kubelet.memory.manager import Blocks, MemoryManager
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import RpcError, serve

Claims = Callable[[str, str], list[pb.DynamicResource]]
"""(pod UID, container) to what it has of dynamic resources."""


class PodResources:
    def __init__(self, root: str, pods: Callable[[], list[Object]], cpus: CpuManager, memory: MemoryManager, devices: Devices,
                 claims: Claims = lambda uid, container: []) -> None:
        self._socket = Path(root, "pod-resources", "kubelet.sock")
        self._pods = pods
        self._cpus = cpus
        self._memory = memory
        self._devices = devices
        self._claims = claims
        self._server: Any = None

    async def start(self) -> None:
        self._server = await serve(self._socket, "v1.PodResourcesLister", {
            "List": (pb.ListPodResourcesRequest, self._list), "Get": (pb.GetPodResourcesRequest, self._get),
            "GetAllocatableResources": (pb.AllocatableResourcesRequest, self._allocatable)})

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)

    async def _list(self, request: pb.ListPodResourcesRequest) -> pb.ListPodResourcesResponse:
        return pb.ListPodResourcesResponse(pod_resources=[self._pod(pod) for pod in self._pods()])

    async def _get(self, request: pb.GetPodResourcesRequest) -> pb.GetPodResourcesResponse:
        for pod in self._pods():
            if (pod["metadata"]["name"], pod["metadata"].get("namespace") or "default") == (request.pod_name, request.pod_namespace):
                return pb.GetPodResourcesResponse(pod_resources=self._pod(pod))
        raise RpcError("UNKNOWN", f"pod {request.pod_name} in namespace {request.pod_namespace} not found")

    async def _allocatable(self, request: pb.AllocatableResourcesRequest) -> pb.AllocatableResourcesResponse:
        devices = [entry for resource in self._devices.plugins.resources.values()
                   for entry in _devices(resource.name, resource.devices, resource.healthy)]
        return pb.AllocatableResourcesResponse(devices=devices, cpu_ids=sorted(self._cpus.allocatable),
                                               memory=_memory(self._memory.allocatable()))

    def _pod(self, pod: Object) -> pb.PodResources:
        uid = podspec.uid_of(pod)
        sidecars = [container for container in podspec.init_containers(pod) if podspec.is_sidecar(container)]
        containers = []
        for container in (*sidecars, *podspec.containers(pod)):
            name = container["name"]
            devices = [entry for resource, given in self._devices.given(uid).get(name, {}).items()
                       for entry in _devices(resource, self._known(resource), given.ids)]
            containers.append(pb.ContainerResources(name=name, devices=devices, cpu_ids=sorted(self._cpus.given(uid, name)),
                                                    memory=_memory(self._memory.given(uid, name)),
                                                    dynamic_resources=self._claims(uid, name)))
        return pb.PodResources(name=pod["metadata"]["name"], namespace=pod["metadata"].get("namespace") or "default", containers=containers)

    def _known(self, resource: str) -> Mapping[str, Device]:
        found = self._devices.plugins.resources.get(resource)
        return found.devices if found is not None else {}


def _memory(blocks: Blocks) -> list[pb.ContainerMemory]:
    return [pb.ContainerMemory(memory_type=name, size=size, topology=pb.TopologyInfo(nodes=[pb.NUMANode(ID=node)]))
            for name, by_node in sorted(blocks.items()) for node, size in sorted(by_node.items())]


def _devices(resource: str, known: Mapping[str, Device], ids: set[str] | frozenset[str]) -> list[pb.ContainerDevices]:
    """One entry a device, as upstream lists them: each with its own NUMA nodes."""
    found = []
    for name in sorted(ids):
        device = known.get(name)
        entry = pb.ContainerDevices(resource_name=resource, device_ids=[name])
        if device is not None and device.nodes:
            entry.topology.nodes.extend(pb.NUMANode(ID=node) for node in sorted(device.nodes))
        found.append(entry)
    return found
