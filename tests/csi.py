"""A CSI driver like upstream's hostpath one, in this process: volumes are directories, staged and published by bind mounts."""
from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kubepy.kubelet.csi import csi_pb2 as csi
from kubepy.kubelet.plugin import registration_pb2 as registration


class HostPathDriver:
    """`calls` is what it was asked for, in order."""

    name = "hostpath.test.kubepy.io"

    def __init__(self, directory: Path, kubelet_root: Path) -> None:
        self.data = directory
        self.calls: list[tuple[str, Any]] = []
        self.status: registration.RegistrationStatus | None = None
        self._root = kubelet_root
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> None:
        folder = self._root / "plugins" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = folder / "csi.sock"
        await self._serve(self.endpoint, "csi.v1.Node", {
            "NodeGetInfo": (csi.NodeGetInfoRequest, self._info),
            "NodeGetCapabilities": (csi.NodeGetCapabilitiesRequest, self._capabilities),
            "NodeStageVolume": (csi.NodeStageVolumeRequest, self._stage),
            "NodeUnstageVolume": (csi.NodeUnstageVolumeRequest, self._unstage),
            "NodePublishVolume": (csi.NodePublishVolumeRequest, self._publish),
            "NodeExpandVolume": (csi.NodeExpandVolumeRequest, self._expand),
            "NodeGetVolumeStats": (csi.NodeGetVolumeStatsRequest, self._usage),
            "NodeUnpublishVolume": (csi.NodeUnpublishVolumeRequest, self._unpublish)})
        registry = self._root / "plugins_registry"
        registry.mkdir(parents=True, exist_ok=True)
        await self._serve(registry / f"{self.name}-reg.sock", "pluginregistration.Registration", {
            "GetInfo": (registration.InfoRequest, self._who),
            "NotifyRegistrationStatus": (registration.RegistrationStatus, self._registered)})

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(0)
        for socket in (self.endpoint, self._root / "plugins_registry" / f"{self.name}-reg.sock"):
            socket.unlink(missing_ok=True)

    async def _serve(self, socket: Path, service: str, methods: dict[str, tuple[Any, Callable[[Any], Awaitable[Any]]]]) -> None:
        handlers = {name: grpc.unary_unary_rpc_method_handler(_handler(method), request_deserializer=kind.FromString,
                                                              response_serializer=lambda answer: answer.SerializeToString())
                    for name, (kind, method) in methods.items()}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"unix://{socket}")
        await server.start()
        self._servers.append(server)

    async def _who(self, request: Any) -> Any:
        return registration.PluginInfo(type="CSIPlugin", name=self.name, endpoint=str(self.endpoint), supported_versions=["1.0.0"])

    async def _registered(self, request: Any) -> Any:
        self.status = request
        return registration.RegistrationStatusResponse()

    async def _info(self, request: Any) -> Any:
        return csi.NodeGetInfoResponse(node_id="node-1", max_volumes_per_node=7,
                                       accessible_topology=csi.Topology(segments={"topology.test.kubepy.io/node": "n1"}))

    async def _capabilities(self, request: Any) -> Any:
        kinds = (csi.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability.RPC.EXPAND_VOLUME,
                 csi.NodeServiceCapability.RPC.GET_VOLUME_STATS)
        return csi.NodeGetCapabilitiesResponse(capabilities=[
            csi.NodeServiceCapability(rpc=csi.NodeServiceCapability.RPC(type=kind)) for kind in kinds])

    async def _expand(self, request: Any) -> Any:
        self.calls.append(("expand", request))
        return csi.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)

    async def _usage(self, request: Any) -> Any:
        bytes_ = csi.VolumeUsage(unit=csi.VolumeUsage.BYTES, total=1000, used=400, available=600)
        return csi.NodeGetVolumeStatsResponse(usage=[bytes_, csi.VolumeUsage(unit=csi.VolumeUsage.INODES, total=10, used=3, available=7)])

    async def _stage(self, request: Any) -> Any:
        self.calls.append(("stage", request))
        if request.volume_capability.HasField("block"):
            return csi.NodeStageVolumeResponse()
        _bind(self._volume(request.volume_id), Path(request.staging_target_path))
        return csi.NodeStageVolumeResponse()

    async def _unstage(self, request: Any) -> Any:
        self.calls.append(("unstage", request))
        _unbind(Path(request.staging_target_path))
        return csi.NodeUnstageVolumeResponse()

    async def _publish(self, request: Any) -> Any:
        self.calls.append(("publish", request))
        if request.volume_capability.HasField("block"):
            with contextlib.suppress(FileExistsError):
                os.mknod(request.target_path, 0o600 | stat.S_IFBLK, os.makedev(7, 0))
            return csi.NodePublishVolumeResponse()
        source = Path(request.staging_target_path) if request.staging_target_path else self._volume(request.volume_id)
        _bind(source, Path(request.target_path), read_only=request.readonly)
        return csi.NodePublishVolumeResponse()

    async def _unpublish(self, request: Any) -> Any:
        self.calls.append(("unpublish", request))
        _unbind(Path(request.target_path))
        return csi.NodeUnpublishVolumeResponse()

    def _volume(self, handle: str) -> Path:
        path = self.data / handle
        path.mkdir(parents=True, exist_ok=True)
        return path


def _handler(method: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:
        return await method(request)

    return answer


def _bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mountpoint", "-q", str(target)], check=False).returncode == 0:
        return
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
    if read_only:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(target)], check=True)


def _unbind(target: Path) -> None:
    subprocess.run(["umount", str(target)], check=False, capture_output=True)
    if target.is_dir():
        target.rmdir()
    else:
        target.unlink(missing_ok=True)
