"""The CRI over gRPC on a UNIX socket: containerd 1.6, 1.7 and 2.x, CRI-O.

Differences between versions are dealt with by what the runtime answers (UNIMPLEMENTED), never by its name. The channel
reconnects by itself after the runtime was away; calls meanwhile fail with UNAVAILABLE.
"""
from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from kubepy.base.task import whole
from kubepy.kubelet import metric
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError

_CALL = 120.0  # upstream's runtimeRequestTimeout
_MESSAGE = 16 << 20
M = TypeVar("M", bound=Message)


@cache
def _operation(method: str) -> str:
    """`RunPodSandbox` is `run_podsandbox` in metrics, as upstream spells it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method.replace("PodSandbox", "Podsandbox")).lower()


def _connect(endpoint: str) -> grpc.aio.Channel:
    target = endpoint if "://" in endpoint else f"unix://{endpoint}"
    return grpc.aio.insecure_channel(target, options=[
        ("grpc.max_receive_message_length", _MESSAGE), ("grpc.max_send_message_length", _MESSAGE),
        ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 3000),
        ("grpc.default_authority", "localhost"), ("grpc.enable_http_proxy", 0)])


class GrpcRuntime:
    """One connection to a runtime (two where images are served elsewhere). Endpoints are paths or `unix://` URLs."""

    def __init__(self, endpoint: str, timeout: float = _CALL, images: str = "") -> None:
        self._timeout = timeout
        self._channel = _connect(endpoint)
        self._images = _connect(images) if images and images != endpoint else self._channel
        self._methods: dict[str, Any] = {}

    async def _call(self, method: str, request: Message, answer: type[M], timeout: float | None = None, *, image: bool = False) -> M:
        call = self._methods.get(method)
        if call is None:
            service = "ImageService" if image else "RuntimeService"
            call = self._methods[method] = (self._images if image else self._channel).unary_unary(
                f"/runtime.v1.{service}/{method}", request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString)
        name = _operation(method)
        metric.OPERATIONS.labels(name).inc()
        began = time.perf_counter()
        try:
            answer_message = await call(request, timeout=timeout if timeout is not None else self._timeout)
            metric.OPERATION_SECONDS.labels(name).observe(time.perf_counter() - began)
            return answer_message  # type: ignore[no-any-return]
        except grpc.aio.AioRpcError as error:
            metric.OPERATION_ERRORS.labels(name).inc()
            raise CriError(error.code().name, error.details() or "") from error

    async def _gone_is_fine(self, method: str, request: Message, answer: type[M], timeout: float | None = None, *,
                            image: bool = False) -> None:
        try:
            await self._call(method, request, answer, timeout, image=image)
        except CriError as error:
            if not error.not_found:
                raise

    async def version(self) -> pb.VersionResponse:
        return await self._call("Version", pb.VersionRequest(version="0.1.0"), pb.VersionResponse, 10)

    async def status(self, *, verbose: bool = False) -> pb.StatusResponse:
        return await self._call("Status", pb.StatusRequest(verbose=verbose), pb.StatusResponse, 10)

    async def cgroup_driver(self) -> str | None:
        try:
            answer = await self._call("RuntimeConfig", pb.RuntimeConfigRequest(), pb.RuntimeConfigResponse, 10)
        except CriError as error:
            if error.code == "UNIMPLEMENTED":
                return None
            raise
        if not answer.HasField("linux"):
            return None
        return "systemd" if answer.linux.cgroup_driver == pb.SYSTEMD else "cgroupfs"

    async def update_runtime_config(self, pod_cidr: str) -> None:
        config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr=pod_cidr))
        await self._call("UpdateRuntimeConfig", pb.UpdateRuntimeConfigRequest(runtime_config=config), pb.UpdateRuntimeConfigResponse)

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str = "") -> str:
        request = pb.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return (await self._call("RunPodSandbox", request, pb.RunPodSandboxResponse, self._timeout * 2)).pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._gone_is_fine("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id), pb.StopPodSandboxResponse)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._gone_is_fine("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id), pb.RemovePodSandboxResponse)

    async def sandbox_status(self, sandbox_id: str, *, verbose: bool = False) -> pb.PodSandboxStatusResponse:
        return await self._call("PodSandboxStatus", pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=verbose),
                                pb.PodSandboxStatusResponse)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[pb.PodSandbox]:
        request = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=dict(labels or {})))
        return (await self._call("ListPodSandbox", request, pb.ListPodSandboxResponse)).items

    async def create_container(self, sandbox_id: str, config: pb.ContainerConfig, sandbox: pb.PodSandboxConfig) -> str:
        request = pb.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox)
        return (await whole(self._call("CreateContainer", request, pb.CreateContainerResponse))).container_id

    async def start_container(self, container_id: str) -> None:
        # Of a pod that is deleted meanwhile as well: broken off, a start is a failure of the container that its status would show.
        await whole(self._call("StartContainer", pb.StartContainerRequest(container_id=container_id), pb.StartContainerResponse))

    async def stop_container(self, container_id: str, timeout: int) -> None:
        request = pb.StopContainerRequest(container_id=container_id, timeout=timeout)
        await self._gone_is_fine("StopContainer", request, pb.StopContainerResponse, self._timeout + timeout)

    async def remove_container(self, container_id: str) -> None:
        await self._gone_is_fine("RemoveContainer", pb.RemoveContainerRequest(container_id=container_id), pb.RemoveContainerResponse)

    async def list_containers(self, labels: Mapping[str, str] | None = None) -> Sequence[pb.Container]:
        request = pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=dict(labels or {})))
        return (await self._call("ListContainers", request, pb.ListContainersResponse)).containers

    async def container_status(self, container_id: str, *, verbose: bool = False) -> pb.ContainerStatusResponse:
        return await self._call("ContainerStatus", pb.ContainerStatusRequest(container_id=container_id, verbose=verbose),
                                pb.ContainerStatusResponse)

    async def update_container(self, container_id: str, resources: pb.LinuxContainerResources) -> None:
        await self._call("UpdateContainerResources", pb.UpdateContainerResourcesRequest(container_id=container_id, linux=resources),
                         pb.UpdateContainerResourcesResponse)

    async def reopen_log(self, container_id: str) -> None:
        await self._call("ReopenContainerLog", pb.ReopenContainerLogRequest(container_id=container_id), pb.ReopenContainerLogResponse)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: int) -> pb.ExecSyncResponse:
        request = pb.ExecSyncRequest(container_id=container_id, cmd=list(command), timeout=timeout)
        # The runtime ends the command itself; the call's own limit only guards against a runtime that does not answer.
        return await self._call("ExecSync", request, pb.ExecSyncResponse, timeout + self._timeout if timeout else 3600.0)

    async def exec(self, request: pb.ExecRequest) -> str:
        return (await self._call("Exec", request, pb.ExecResponse)).url

    async def attach(self, request: pb.AttachRequest) -> str:
        return (await self._call("Attach", request, pb.AttachResponse)).url

    async def port_forward(self, request: pb.PortForwardRequest) -> str:
        return (await self._call("PortForward", request, pb.PortForwardResponse)).url

    async def container_stats(self) -> Sequence[pb.ContainerStats]:
        return (await self._call("ListContainerStats", pb.ListContainerStatsRequest(), pb.ListContainerStatsResponse)).stats

    async def sandbox_stats(self) -> Sequence[pb.PodSandboxStats]:
        return (await self._call("ListPodSandboxStats", pb.ListPodSandboxStatsRequest(), pb.ListPodSandboxStatsResponse)).stats

    async def checkpoint(self, container_id: str, location: str, timeout: int) -> None:
        request = pb.CheckpointContainerRequest(container_id=container_id, location=location, timeout=timeout)
        await self._call("CheckpointContainer", request, pb.CheckpointContainerResponse, self._timeout + timeout)

    async def events(self) -> AsyncIterator[pb.ContainerEventResponse]:
        stream = self._channel.unary_stream("/runtime.v1.RuntimeService/GetContainerEvents",
                                            request_serializer=pb.GetEventsRequest.SerializeToString,
                                            response_deserializer=pb.ContainerEventResponse.FromString)
        call = stream(pb.GetEventsRequest())
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise CriError(error.code().name, error.details() or "") from error
        finally:
            call.cancel()

    async def list_images(self) -> Sequence[pb.Image]:
        return (await self._call("ListImages", pb.ListImagesRequest(), pb.ListImagesResponse, image=True)).images

    async def image_status(self, image: str) -> pb.Image | None:
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image))
        answer = await self._call("ImageStatus", request, pb.ImageStatusResponse, image=True)
        return answer.image if answer.HasField("image") else None

    async def pull_image(self, image: str, auth: pb.AuthConfig | None, sandbox: pb.PodSandboxConfig | None) -> str:
        request = pb.PullImageRequest(image=pb.ImageSpec(image=image), auth=auth, sandbox_config=sandbox)
        # No limit of our own: the runtime gives up by itself when a pull makes no progress.
        return (await self._call("PullImage", request, pb.PullImageResponse, 24 * 3600.0, image=True)).image_ref

    async def remove_image(self, image: str) -> None:
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image))
        await self._gone_is_fine("RemoveImage", request, pb.RemoveImageResponse, image=True)

    async def image_fs(self) -> pb.ImageFsInfoResponse:
        return await self._call("ImageFsInfo", pb.ImageFsInfoRequest(), pb.ImageFsInfoResponse, 20, image=True)

    async def close(self) -> None:
        await self._channel.close(None)
        if self._images is not self._channel:
            await self._images.close(None)
