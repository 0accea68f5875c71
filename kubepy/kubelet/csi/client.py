"""A registered driver's node service."""
from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from kubepy.kubelet.csi import csi_pb2 as pb
from kubepy.kubelet.rpc import PluginSocket

M = TypeVar("M", bound=Message)


class Driver:
    """A registered driver's node service."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name, self.endpoint = name, endpoint
        self._socket = PluginSocket(endpoint)
        self._capabilities: frozenset[int] | None = None

    async def capabilities(self) -> frozenset[int]:
        if self._capabilities is None:
            answer = await self._call("NodeGetCapabilities", pb.NodeGetCapabilitiesRequest(), pb.NodeGetCapabilitiesResponse)
            self._capabilities = frozenset(int(entry.rpc.type) for entry in answer.capabilities if entry.HasField("rpc"))
        return self._capabilities

    async def info(self) -> pb.NodeGetInfoResponse:
        return await self._call("NodeGetInfo", pb.NodeGetInfoRequest(), pb.NodeGetInfoResponse)

    async def stage(self, request: pb.NodeStageVolumeRequest) -> None:
        await self._call("NodeStageVolume", request, pb.NodeStageVolumeResponse)

    async def unstage(self, volume_id: str, path: str) -> None:
        await self._call("NodeUnstageVolume", pb.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=path),
                         pb.NodeUnstageVolumeResponse)

    async def publish(self, request: pb.NodePublishVolumeRequest) -> None:
        await self._call("NodePublishVolume", request, pb.NodePublishVolumeResponse)

    async def unpublish(self, volume_id: str, path: str) -> None:
        await self._call("NodeUnpublishVolume", pb.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=path),
                         pb.NodeUnpublishVolumeResponse)

    async def expand(self, request: pb.NodeExpandVolumeRequest) -> None:
        await self._call("NodeExpandVolume", request, pb.NodeExpandVolumeResponse)

    async def usage(self, request: pb.NodeGetVolumeStatsRequest) -> pb.NodeGetVolumeStatsResponse:
        return await self._call("NodeGetVolumeStats", request, pb.NodeGetVolumeStatsResponse)

    async def _call(self, method: str, request: Message, answer: type[M]) -> M:
        return await self._socket.call(f"/csi.v1.Node/{method}", request, answer)

    async def close(self) -> None:
        await self._socket.close()
