"""One plugin's socket: unary gRPC calls that raise CsiError."""
from __future__ import annotations

from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from kubepy.kubelet.csi import csi_pb2 as pb

_CALL = 120.0  # upstream's csiTimeout
M = TypeVar("M", bound=Message)


class CsiError(Exception):
    """A call that failed; `code` is gRPC's name of it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {_go(code)} desc = {message}")
        self.code = code


def _go(code: str) -> str:
    """`DEADLINE_EXCEEDED` is `DeadlineExceeded` in Go's errors."""
    return "OK" if code == "OK" else "".join(part.capitalize() for part in code.split("_"))


class PluginSocket:
    def __init__(self, path: str) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix://{path}", options=[
            ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 3000),
            ("grpc.default_authority", "localhost"), ("grpc.enable_http_proxy", 0)])

    async def call(self, method: str, request: Message, answer: type[M], timeout: float = _CALL) -> M:
        """`method` is the full path, such as `/csi.v1.Node/NodeGetInfo`."""
        call: Any = self._channel.unary_unary(method, request_serializer=type(request).SerializeToString,
                                              response_deserializer=answer.FromString)
        try:
            found: M = await call(request, timeout=timeout)
            return found
        except grpc.aio.AioRpcError as error:
            raise CsiError(error.code().name, error.details() or "") from error

    async def close(self) -> None:
        await self._channel.close(None)


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

    async def stages(self) -> bool:
        return pb.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME in await self.capabilities()

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

    async def _call(self, method: str, request: Message, answer: type[M]) -> M:
        return await self._socket.call(f"/csi.v1.Node/{method}", request, answer)

    async def close(self) -> None:
        await self._socket.close()
