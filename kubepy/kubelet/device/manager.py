"""Who has which devices: chosen when a pod is admitted, given by the plugin, kept in a checkpoint, taken back when the pod has ended.

Follows upstream's device manager. Known difference: the checkpoint has upstream's form but no checksum.
"""
from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.checkpoint import Checkpoint
from kubepy.kubelet.cri import runtime_pb2 as cri
from kubepy.kubelet.device import device_pb2 as pb
from kubepy.kubelet.device.plugin import DevicePlugins, Resource
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import RpcError
from kubepy.kubelet.topology import AllocationError, Hint, subsets

log = get_logger("device")


@dataclass(frozen=True, slots=True)
class Given:
    """Devices of one resource and what the plugin answered for them."""

    ids: frozenset[str]
    answer: pb.ContainerAllocateResponse


def choose(resource: Resource, free: set[str], count: int, nodes: frozenset[int] | None, reuse: set[str]) -> tuple[set[str], set[str]]:
    """(taken in any case, candidates for the rest): what can be used again first, then devices near the wanted NUMA nodes."""
    taken = set(sorted(reuse & resource.healthy)[:count])
    candidates = free - taken
    if nodes is not None and len(taken) < count:
        near = {name for name in candidates if resource.devices[name].nodes & nodes}
        if len(near) >= count - len(taken):
            return taken, near
        taken |= near
        unbound = {name for name in candidates - near if not resource.devices[name].nodes}
        if len(unbound) >= count - len(taken):
            return taken, unbound
        taken |= unbound
        candidates -= taken
    return taken, candidates


class Devices:
    def __init__(self, plugins: DevicePlugins, clock: Clock) -> None:
        self.plugins = plugins
        self._clock = clock
        self._given: dict[str, dict[str, dict[str, Given]]] = {}
        """By pod UID, container and resource."""
        self.checkpoint = Checkpoint(plugins.directory / "kubelet_internal_checkpoint")

    # --- what the node has ---

    def capacity(self) -> dict[str, str]:
        return {**dict.fromkeys(self.plugins.forgotten, "0"),
                **{name: str(len(resource.devices)) for name, resource in sorted(self.plugins.resources.items())}}

    def allocatable(self) -> dict[str, str]:
        return {**dict.fromkeys(self.plugins.forgotten, "0"),
                **{name: str(len(resource.healthy)) for name, resource in sorted(self.plugins.resources.items())}}

    def given(self, uid: str) -> Mapping[str, Mapping[str, Given]]:
        """By container and resource."""
        return self._given.get(uid, {})

    def health(self, uid: str) -> dict[str, list[Object]]:
        """By container its devices' health, as the pod's status tells of it (`allocatedResourcesStatus`)."""
        return {container: [{"name": name, "resources": [{"resourceID": device, "health": self._health(name, device)}
                                                         for device in sorted(given.ids)]} for name, given in sorted(by_resource.items())]
                for container, by_resource in self._given.get(uid, {}).items() if by_resource}

    def _health(self, resource: str, device: str) -> str:
        known = self.plugins.resources.get(resource)
        if known is None or known.stopped_at is not None or device not in known.devices:
            return "Unknown"
        return "Healthy" if known.devices[device].healthy else "Unhealthy"

    def holders(self) -> list[str]:
        """UIDs of pods that have devices."""
        return list(self._given)

    # --- admission ---

    def _free(self, resource: Resource) -> set[str]:
        used = {name for parts in self._given.values() for by_resource in parts.values() if resource.name in by_resource
                for name in by_resource[resource.name].ids}
        return resource.healthy - used

    def _wanted(self, container: Object) -> dict[str, int]:
        limits = (container.get("resources") or {}).get("limits") or {}
        return {name: int(value) for name, value in limits.items() if name in self.plugins.resources and int(value) > 0}

    def hints(self, pod: Object, container: Object, nodes: frozenset[int]) -> dict[str, Sequence[Hint] | None]:
        found: dict[str, Sequence[Hint] | None] = {}
        for name, count in self._wanted(container).items():
            resource = self.plugins.resources[name]
            if container["name"] in self._given.get(podspec.uid_of(pod), {}) or \
                    not any(device.nodes for device in resource.devices.values()):
                found[name] = None
                continue
            free = self._free(resource) | self._reusable(pod, container, name)
            counted = [(chosen, sum(1 for device in resource.devices.values() if device.nodes & chosen),
                        sum(1 for device in free if resource.devices[device].nodes & chosen)) for chosen in subsets(nodes)]
            minimum = min((len(chosen) for chosen, every, _ in counted if every >= count), default=len(nodes))
            found[name] = [Hint(chosen, len(chosen) == minimum) for chosen, _, left in counted if left >= count]
        return found

    def _reusable(self, pod: Object, container: Object, name: str) -> set[str]:
        """What earlier init containers of the pod had, which have ended before this one starts."""
        found: set[str] = set()
        mine = self._given.get(podspec.uid_of(pod), {})
        for other in podspec.init_containers(pod):
            if other["name"] == container["name"]:
                break
            if not podspec.is_sidecar(other) and name in mine.get(other["name"], {}):
                found |= mine[other["name"]][name].ids
        return found

    async def allocate(self, pod: Object, container: Object, nodes: frozenset[int] | None) -> None:
        """Gives the container its devices. Raises AllocationError."""
        uid = podspec.uid_of(pod)
        for name, count in self._wanted(container).items():
            mine = self._given.setdefault(uid, {}).setdefault(container["name"], {})
            if name in mine:
                continue
            resource = self.plugins.resources[name]
            free, reuse = self._free(resource), self._reusable(pod, container, name)
            if len(free | (reuse & resource.healthy)) < count:
                raise AllocationError(f"requested number of devices unavailable for {name}. Requested: {count}, Available: {len(free)}")
            ids = await self._pick(resource, free, count, nodes, reuse)
            socket = resource.socket
            if socket is None or resource.stopped_at is not None:
                raise AllocationError(f"endpoint not found in cache for a registered resource: {name}")
            request = pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=sorted(ids))])
            try:
                answer = await socket.call("/v1beta1.DevicePlugin/Allocate", request, pb.AllocateResponse)
            except RpcError as error:
                raise AllocationError(str(error)) from error
            if not answer.container_responses:
                raise AllocationError(f"no containers return in allocation response {answer}")
            mine[name] = Given(frozenset(ids), answer.container_responses[0])
            self.save()
            log.info("Devices given", pod=podspec.full_name(pod), container=container["name"], resource=name, devices=sorted(ids))

    async def _pick(self, resource: Resource, free: set[str], count: int, nodes: frozenset[int] | None, reuse: set[str]) -> set[str]:
        taken, candidates = choose(resource, free, count, nodes, reuse)
        if len(taken) >= count:
            return set(sorted(taken)[:count])
        if resource.options.get_preferred_allocation_available and resource.socket is not None:
            request = pb.PreferredAllocationRequest(container_requests=[pb.ContainerPreferredAllocationRequest(
                available_deviceIDs=sorted(candidates | taken), must_include_deviceIDs=sorted(taken), allocation_size=count)])
            try:
                answer = await resource.socket.call("/v1beta1.DevicePlugin/GetPreferredAllocation", request, pb.PreferredAllocationResponse)
            except RpcError as error:
                raise AllocationError(str(error)) from error
            preferred = set(answer.container_responses[0].deviceIDs) & candidates if answer.container_responses else set()
            taken |= set(sorted(preferred)[:count - len(taken)])
        return taken | set(sorted(candidates - taken)[:count - len(taken)])

    # --- containers ---

    async def pre_start(self, uid: str, container: str) -> None:
        """Tells plugins that asked for it that the container is about to start. Raises AllocationError."""
        for name, given in self._given.get(uid, {}).get(container, {}).items():
            resource = self.plugins.resources.get(name)
            if resource is None or resource.socket is None or not resource.options.pre_start_required:
                continue
            try:
                await resource.socket.call("/v1beta1.DevicePlugin/PreStartContainer", pb.PreStartContainerRequest(
                    devices_ids=sorted(given.ids)), pb.PreStartContainerResponse, 30.0)
            except RpcError as error:
                raise AllocationError(f"device plugin PreStartContainer rpc failed with err: {error}") from error

    def configure(self, uid: str, container: str, config: cri.ContainerConfig) -> None:
        """Adds what the plugins have answered to what the runtime is told."""
        for given in self._given.get(uid, {}).get(container, {}).values():
            answer = given.answer
            named = {entry.key for entry in config.envs}
            config.envs.extend(cri.KeyValue(key=key, value=value) for key, value in answer.envs.items() if key not in named)
            config.mounts.extend(cri.Mount(container_path=entry.container_path, host_path=entry.host_path, readonly=entry.read_only)
                                 for entry in answer.mounts)
            config.devices.extend(cri.Device(container_path=entry.container_path, host_path=entry.host_path, permissions=entry.permissions)
                                  for entry in answer.devices)
            config.annotations.update(answer.annotations)
            config.CDI_devices.extend(cri.CDIDevice(name=entry.name) for entry in answer.cdi_devices)

    def release(self, known: Callable[[str], bool]) -> None:
        gone = [uid for uid in self._given if not known(uid)]
        for uid in gone:
            del self._given[uid]
        if gone:
            self.save()

    # --- the checkpoint ---

    def load(self) -> None:
        try:
            data = (self.checkpoint.load() or {"Data": {}})["Data"]
            for entry in data.get("PodDeviceEntries") or ():
                ids = frozenset(name for names in entry["DeviceIDs"].values() for name in names)
                answer = pb.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"]))
                self._given.setdefault(entry["PodUID"], {}).setdefault(entry["ContainerName"], {})[entry["ResourceName"]] = \
                    Given(ids, answer)
            for name in data.get("RegisteredDevices") or {}:
                self.plugins.resources.setdefault(name, Resource(name, stopped_at=self._clock.monotonic()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("The devices' checkpoint cannot be read and is begun anew", path=str(self.checkpoint.path), err=error)

    def save(self) -> None:
        entries = []
        for uid, parts in self._given.items():
            for container, by_resource in parts.items():
                for name, given in by_resource.items():
                    devices: dict[str, list[str]] = {}
                    for device in sorted(given.ids):
                        known = self.plugins.resources[name].devices.get(device) if name in self.plugins.resources else None
                        devices.setdefault(str(min(known.nodes)) if known is not None and known.nodes else "-1", []).append(device)
                    entries.append({"PodUID": uid, "ContainerName": container, "ResourceName": name, "DeviceIDs": devices,
                                    "AllocResp": base64.b64encode(given.answer.SerializeToString()).decode()})
        registered = {name: sorted(resource.devices) for name, resource in self.plugins.resources.items()}
        self.checkpoint.keep({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}, "Checksum": 0})


