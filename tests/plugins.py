"""Plugins for tests: a device plugin of imaginary devices, and a driver of dynamic resources. `calls` is what they were asked."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kubepy.kubelet.device import device_pb2 as device
from kubepy.kubelet.dra import dra_pb2 as dra
from kubepy.kubelet.plugin import registration_pb2 as registration
from kubepy.kubelet.rpc import PluginSocket, serve

RESOURCE = "test.kubepy.io/widget"
DRIVER = "dra.test.kubepy.io"


class DevicePlugin:
    """Devices by ID with their NUMA node (None for none); `set` changes them while it runs."""

    def __init__(self, root: Path, devices: dict[str, int | None], *, preferred: list[str] | None = None) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.unhealthy: set[str] = set()
        self.fail = ""
        self._directory = root / "device-plugins"
        self._devices = devices
        self._preferred = preferred
        self._changed = asyncio.Event()
        self._server: Any = None

    async def start(self) -> None:
        service = "v1beta1.DevicePlugin"
        unary = {"GetDevicePluginOptions": (device.Empty, self._options), "Allocate": (device.AllocateRequest, self._allocate),
                 "PreStartContainer": (device.PreStartContainerRequest, self._pre_start),
                 "GetPreferredAllocation": (device.PreferredAllocationRequest, self._prefer)}
        handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(
            _answer(method), request_deserializer=kind.FromString, response_serializer=lambda message: message.SerializeToString())
            for name, (kind, method) in unary.items()}
        handlers["ListAndWatch"] = grpc.unary_stream_rpc_method_handler(
            self._list, request_deserializer=device.Empty.FromString, response_serializer=lambda message: message.SerializeToString())
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self._server.add_insecure_port(f"unix://{self._directory}/widget.sock")
        await self._server.start()
        kubelet = PluginSocket(str(self._directory / "kubelet.sock"))
        try:
            await kubelet.call("/v1beta1.Registration/Register", device.RegisterRequest(
                version="v1beta1", endpoint="widget.sock", resource_name=RESOURCE, options=await self._options(None)), device.Empty, 10)
        finally:
            await kubelet.close()

    async def stop(self) -> None:
        await self._server.stop(0)

    def set(self, *unhealthy: str) -> None:
        self.unhealthy = set(unhealthy)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _options(self, request: Any) -> Any:
        return device.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=self._preferred is not None)

    async def _list(self, request: Any, context: Any) -> Any:
        while True:
            changed = self._changed
            yield device.ListAndWatchResponse(devices=[device.Device(
                ID=name, health="Unhealthy" if name in self.unhealthy else "Healthy",
                topology=None if node is None else device.TopologyInfo(nodes=[device.NUMANode(ID=node)]))
                for name, node in self._devices.items()])
            await changed.wait()

    async def _allocate(self, request: Any) -> Any:
        ids = list(request.container_requests[0].devices_ids)
        self.calls.append(("allocate", ids))
        return device.AllocateResponse(container_responses=[device.ContainerAllocateResponse(
            envs={"WIDGETS": ",".join(ids)}, devices=[device.DeviceSpec(container_path="/dev/widget", host_path="/dev/null",
                                                                       permissions="rw")])])

    async def _pre_start(self, request: Any) -> Any:
        self.calls.append(("pre-start", list(request.devices_ids)))
        return device.PreStartContainerResponse()

    async def _prefer(self, request: Any) -> Any:
        one = request.container_requests[0]
        wanted = [name for name in self._preferred or () if name in one.available_deviceIDs][:one.allocation_size]
        self.calls.append(("prefer", wanted))
        return device.PreferredAllocationResponse(container_responses=[device.ContainerPreferredAllocationResponse(deviceIDs=wanted)])


class ResourceDriver:
    """Prepares every claim as one device with one CDI name."""

    def __init__(self, root: Path, cdi: list[str]) -> None:
        self.calls: list[tuple[str, str]] = []
        self.problem = ""
        self._root = root
        self._cdi = cdi
        self._servers: list[Any] = []

    async def start(self) -> None:
        endpoint = self._root / "plugins" / DRIVER / "dra.sock"
        self._servers.append(await serve(endpoint, "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin", {
            "NodePrepareResources": (dra.NodePrepareResourcesRequest, self._prepare),
            "NodeUnprepareResources": (dra.NodeUnprepareResourcesRequest, self._unprepare)}))

        async def info(request: Any) -> Any:
            return registration.PluginInfo(type="DRAPlugin", name=DRIVER, endpoint=str(endpoint), supported_versions=["v1.DRAPlugin"])

        async def told(request: Any) -> Any:
            self.calls.append(("registered", str(request.plugin_registered)))
            return registration.RegistrationStatusResponse()

        self._socket = self._root / "plugins_registry" / f"{DRIVER}-reg.sock"
        self._servers.append(await serve(self._socket, "pluginregistration.Registration", {
            "GetInfo": (registration.InfoRequest, info), "NotifyRegistrationStatus": (registration.RegistrationStatus, told)}))

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(0)
        self._socket.unlink(missing_ok=True)

    async def _prepare(self, request: Any) -> Any:
        answer = dra.NodePrepareResourcesResponse()
        for claim in request.claims:
            self.calls.append(("prepare", claim.name))
            one = answer.claims[claim.uid]
            if self.problem:
                one.error = self.problem
            else:
                one.devices.append(dra.Device(request_names=["req"], pool_name="pool", device_name="dev0", cdi_device_ids=self._cdi))
        return answer

    async def _unprepare(self, request: Any) -> Any:
        answer = dra.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            self.calls.append(("unprepare", claim.name))
            answer.claims[claim.uid].SetInParent()
        return answer


def _answer(method: Any) -> Any:
    async def answer(request: Any, context: Any) -> Any:
        return await method(request)

    return answer
