"""Device plugins: they register at `<root>/device-plugins/kubelet.sock`, then tell of their devices for as long as they run.

A plugin that goes away leaves its devices unhealthy, and after five minutes its resource (upstream's endpointStopGracePeriod).
"""
from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.kubelet import metric
from kubepy.kubelet.device import device_pb2 as pb
from kubepy.kubelet.rpc import PluginSocket, RpcError, serve

log = get_logger("device")
VERSION = "v1beta1"
_GRACE, _CALL = 300.0, 10.0


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    healthy: bool = True
    nodes: frozenset[int] = frozenset()
    """NUMA nodes it is near to; empty when it does not say."""


@dataclass(slots=True)
class Resource:
    """One extended resource and the plugin that offers it."""

    name: str
    devices: dict[str, Device] = field(default_factory=dict)
    socket: PluginSocket | None = None
    options: pb.DevicePluginOptions = field(default_factory=pb.DevicePluginOptions)
    stopped_at: float | None = None
    """Monotonic time since which no plugin offers it."""

    @property
    def healthy(self) -> set[str]:
        return {device.id for device in self.devices.values() if device.healthy}


def valid_name(name: str) -> bool:
    """An extended resource is `domain/name`, outside of kubernetes.io."""
    domain, slash, rest = name.partition("/")
    return bool(slash and domain and rest) and "kubernetes.io" not in domain and not name.startswith("requests.")


class DevicePlugins:
    """Resources by name. `changed` is called when there are other devices than before."""

    kind = "DevicePlugin"

    def __init__(self, root: str, clock: Clock, changed: Callable[[], None]) -> None:
        self.directory = Path(root, "device-plugins")
        self.resources: dict[str, Resource] = {}
        self.forgotten: set[str] = set()
        """Resources that were there once: the node shows that it has none of them."""
        self._clock = clock
        self._changed = changed
        self._tasks = Tasks("devices", clock)
        self._server: Any = None

    async def start(self) -> None:
        """Serves registration. Old sockets go, so that plugins that look for the kubelet's notice that it is another."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        for entry in self.directory.iterdir():
            if entry.is_socket():
                with contextlib.suppress(OSError):
                    entry.unlink()
        self._server = await serve(self.directory / "kubelet.sock", "v1beta1.Registration",
                                   {"Register": (pb.RegisterRequest, self._register)})

    async def stop(self) -> None:
        await self._tasks.stop()
        if self._server is not None:
            await self._server.stop(0)
        for resource in self.resources.values():
            if resource.socket is not None:
                await resource.socket.close()

    def tidy(self) -> None:
        """Forgets resources whose plugin has been away too long."""
        now = self._clock.monotonic()
        for name, resource in list(self.resources.items()):
            if resource.stopped_at is not None and now - resource.stopped_at > _GRACE:
                log.info("Resource forgotten: its plugin is gone", resource=name)
                del self.resources[name]
                self.forgotten.add(name)
                self._changed()

    # --- registration: by the plugin itself, or through the plugins' registry ---

    async def _register(self, request: pb.RegisterRequest) -> pb.Empty:
        if request.version != VERSION:
            raise RpcError("UNKNOWN", f'requested API version "{request.version}" is not supported by kubelet. '
                                      f'Supported version is ["{VERSION}"]')
        if not valid_name(request.resource_name):
            raise RpcError("UNKNOWN", f'the ResourceName "{request.resource_name}" is invalid')
        endpoint = self.directory / os.path.basename(request.endpoint)
        await self._take(request.resource_name, str(endpoint), request.options)
        return pb.Empty()

    def ready(self) -> bool:
        return True

    def refuse(self, name: str, versions: Sequence[str]) -> str:
        if VERSION not in versions:
            return f"device plugin {name}: versions {list(versions)} are not supported"
        return "" if valid_name(name) else f"invalid name of device plugin socket: {name}"

    async def add(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        socket = PluginSocket(endpoint)
        try:
            options = await socket.call("/v1beta1.DevicePlugin/GetDevicePluginOptions", pb.Empty(), pb.DevicePluginOptions, _CALL)
        finally:
            await socket.close()
        await self._take(name, endpoint, options)

    async def added(self, name: str) -> None:
        return None

    async def remove(self, name: str) -> None:
        if (resource := self.resources.get(name)) is not None:
            self._lost(resource)

    async def _take(self, name: str, endpoint: str, options: pb.DevicePluginOptions) -> None:
        log.info("Device plugin registered", resource=name, endpoint=endpoint)
        metric.DEVICE_REGISTRATIONS.labels(name).inc()
        self.forgotten.discard(name)
        resource = self.resources.setdefault(name, Resource(name))
        if resource.socket is not None:
            await resource.socket.close()
        resource.socket, resource.options, resource.stopped_at = PluginSocket(endpoint), options, None
        self._tasks.start(self._listen(resource, resource.socket), name)

    async def _listen(self, resource: Resource, socket: PluginSocket) -> None:
        try:
            async for answer in socket.stream("/v1beta1.DevicePlugin/ListAndWatch", pb.Empty(), pb.ListAndWatchResponse):
                if resource.socket is not socket:
                    return
                devices = {entry.ID: Device(entry.ID, entry.health == "Healthy", frozenset(int(node.ID) for node in entry.topology.nodes))
                           for entry in answer.devices}
                if devices != resource.devices:
                    resource.devices = devices
                    log.info("Devices", resource=resource.name, healthy=len(resource.healthy), all=len(devices))
                    self._changed()
            log.warning("The device plugin has ended", resource=resource.name)
        except RpcError as error:
            log.warning("The device plugin is gone", resource=resource.name, err=error)
        if resource.socket is socket:
            self._lost(resource)

    def _lost(self, resource: Resource) -> None:
        resource.devices = {name: Device(name, False, device.nodes) for name, device in resource.devices.items()}
        resource.stopped_at = self._clock.monotonic()
        self._changed()
