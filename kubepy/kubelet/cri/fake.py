"""A container runtime in memory, for unit tests: it holds the contract of the real one where the kubelet relies on it.

Containers run until a test says `exit(name, code)`, or the kubelet stops them. `fail` makes a method raise, `calls` tells what was
asked. The contract suite runs against this and against containerd.
"""
from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from kubepy.base.clock import Clock, SystemClock
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError


class FakeRuntime:
    """`events_supported` False is containerd 1.6."""

    def __init__(self, clock: Clock | None = None, *, events_supported: bool = True) -> None:
        self.clock = clock or SystemClock()
        self.calls: list[tuple[str, str]] = []
        self.fail: dict[str, CriError] = {}
        self.images: dict[str, pb.Image] = {}
        self.remote: set[str] = set()
        """Images that can be pulled."""
        self.network_ready = True
        self.on_exec: Callable[[str, Sequence[str]], tuple[int, bytes]] = lambda container, command: (0, b"")
        self.configs: dict[str, pb.ContainerConfig] = {}
        """What the newest container of each name was made from."""
        self.ignores_term: set[str] = set()
        """Container names that only a kill ends."""
        self._events_supported = events_supported
        self._sandboxes: dict[str, pb.PodSandboxStatus] = {}
        self._containers: dict[str, tuple[pb.ContainerStatus, str]] = {}
        self._ids = itertools.count(1)
        self._listeners: set[asyncio.Queue[pb.ContainerEventResponse]] = set()
        self._address = itertools.count(2)

    # --- what tests do ---

    def add_image(self, name: str, *, size: int = 1000, uid: int | None = None, username: str = "") -> pb.Image:
        image = pb.Image(id=f"sha256:{abs(hash(name)):064x}"[:71], repo_tags=[name], size=size, username=username)
        if uid is not None:
            image.uid.value = uid
        self.images[name] = image
        return image

    def exit(self, name: str, code: int, *, reason: str = "") -> None:
        """The newest running container of that name ends by itself."""
        for status, _ in reversed(self._containers.values()):
            if status.metadata.name == name and status.state == pb.CONTAINER_RUNNING:
                self._end(status, code, reason)
                return
        raise KeyError(name)

    def kill_sandbox(self) -> None:
        """Every pause process dies, and with it all that runs in its pod."""
        for sandbox in self._sandboxes.values():
            sandbox.state = pb.SANDBOX_NOTREADY
        for status, _ in self._containers.values():
            if status.state == pb.CONTAINER_RUNNING:
                self._end(status, 137, "Error")

    def running(self) -> list[str]:
        """Names of running containers, in order of creation."""
        return [status.metadata.name for status, _ in self._containers.values() if status.state == pb.CONTAINER_RUNNING]

    # --- RuntimeService ---

    async def _asked(self, method: str, about: str = "") -> None:
        self.calls.append((method, about))
        await asyncio.sleep(0)
        if method in self.fail:
            raise self.fail[method]

    async def version(self) -> pb.VersionResponse:
        await self._asked("version")
        return pb.VersionResponse(version="0.1.0", runtime_name="fake", runtime_version="v1.0.0", runtime_api_version="v1")

    async def status(self, *, verbose: bool = False) -> pb.StatusResponse:
        await self._asked("status")
        return pb.StatusResponse(status=pb.RuntimeStatus(conditions=[
            pb.RuntimeCondition(type="RuntimeReady", status=True),
            pb.RuntimeCondition(type="NetworkReady", status=self.network_ready,
                                reason="" if self.network_ready else "NetworkPluginNotReady")]))

    async def cgroup_driver(self) -> str | None:
        await self._asked("cgroup_driver")
        return None

    async def update_runtime_config(self, pod_cidr: str) -> None:
        await self._asked("update_runtime_config", pod_cidr)

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str = "") -> str:
        await self._asked("run_sandbox", config.metadata.name)
        for other in self._sandboxes.values():
            if other.metadata == config.metadata:
                raise CriError("UNKNOWN", f'failed to reserve sandbox name "{config.metadata.name}": name is reserved')
        sandbox_id = f"sandbox{next(self._ids)}"
        status = pb.PodSandboxStatus(id=sandbox_id, metadata=config.metadata, state=pb.SANDBOX_READY, created_at=self._now(),
                                     labels=config.labels, annotations=config.annotations, runtime_handler=handler)
        options = config.linux.security_context.namespace_options
        status.linux.namespaces.options.CopyFrom(options)
        if options.network != pb.NODE:
            status.network.ip = f"10.0.0.{next(self._address)}"
        self._sandboxes[sandbox_id] = status
        self._tell(sandbox_id, sandbox_id, pb.CONTAINER_STARTED_EVENT)
        return sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._asked("stop_sandbox", sandbox_id)
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.state == pb.SANDBOX_NOTREADY:
            return
        for status, owner in self._containers.values():
            if owner == sandbox_id and status.state == pb.CONTAINER_RUNNING:
                self._end(status, 137, "Error")
        sandbox.state = pb.SANDBOX_NOTREADY
        self._tell(sandbox_id, sandbox_id, pb.CONTAINER_STOPPED_EVENT)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._asked("remove_sandbox", sandbox_id)
        await self.stop_sandbox(sandbox_id)
        for container_id in [key for key, (_, owner) in self._containers.items() if owner == sandbox_id]:
            del self._containers[container_id]
        self._sandboxes.pop(sandbox_id, None)

    async def sandbox_status(self, sandbox_id: str, *, verbose: bool = False) -> pb.PodSandboxStatusResponse:
        await self._asked("sandbox_status", sandbox_id)
        if sandbox_id not in self._sandboxes:
            raise CriError("NOT_FOUND", f"an error occurred when try to find sandbox: {sandbox_id}: not found")
        return pb.PodSandboxStatusResponse(status=self._sandboxes[sandbox_id])

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[pb.PodSandbox]:
        await self._asked("list_sandboxes")
        return [pb.PodSandbox(id=status.id, metadata=status.metadata, state=status.state, created_at=status.created_at,
                              labels=status.labels, annotations=status.annotations)
                for status in self._sandboxes.values() if _matches(status.labels, labels)]

    async def create_container(self, sandbox_id: str, config: pb.ContainerConfig, sandbox: pb.PodSandboxConfig) -> str:
        await self._asked("create_container", config.metadata.name)
        if sandbox_id not in self._sandboxes:
            raise CriError("NOT_FOUND", f"failed to find sandbox id {sandbox_id!r}: not found")
        if self._sandboxes[sandbox_id].state != pb.SANDBOX_READY:
            raise CriError("NOT_FOUND", f"failed to get sandbox container task: no running task found: task {sandbox_id} not found")
        for status, owner in self._containers.values():
            if owner == sandbox_id and status.metadata == config.metadata:
                raise CriError("UNKNOWN", f'failed to reserve container name "{config.metadata.name}": name is reserved')
        if not any(config.image.image in (image.id, *image.repo_tags) for image in self.images.values()):
            raise CriError("NOT_FOUND", f"failed to get image from containerd {config.image.image!r}: image not found")
        container_id = f"container{next(self._ids)}"
        status = pb.ContainerStatus(id=container_id, metadata=config.metadata, state=pb.CONTAINER_CREATED, created_at=self._now(),
                                    image=config.image, image_ref=config.image.image, labels=config.labels, annotations=config.annotations,
                                    mounts=config.mounts, log_path=f"{sandbox.log_directory}/{config.log_path}")
        self._containers[container_id] = (status, sandbox_id)
        self.configs[config.metadata.name] = config
        self._tell(sandbox_id, container_id, pb.CONTAINER_CREATED_EVENT)
        return container_id

    async def start_container(self, container_id: str) -> None:
        await self._asked("start_container", container_id)
        status, sandbox_id = self._container(container_id)
        status.state, status.started_at = pb.CONTAINER_RUNNING, self._now()
        self._tell(sandbox_id, container_id, pb.CONTAINER_STARTED_EVENT)

    async def stop_container(self, container_id: str, timeout: int) -> None:
        await self._asked("stop_container", f"{container_id}/{timeout}")
        if container_id not in self._containers:
            return
        status, _ = self._containers[container_id]
        if status.state != pb.CONTAINER_RUNNING:
            return
        if status.metadata.name in self.ignores_term:
            await self.clock.sleep(timeout)
            self._end(status, 137, "Error")
        else:
            self._end(status, 143, "Error")

    async def remove_container(self, container_id: str) -> None:
        await self._asked("remove_container", container_id)
        self._containers.pop(container_id, None)

    async def list_containers(self, labels: Mapping[str, str] | None = None) -> Sequence[pb.Container]:
        await self._asked("list_containers")
        return [pb.Container(id=status.id, pod_sandbox_id=owner, metadata=status.metadata, image=status.image, image_ref=status.image_ref,
                             state=status.state, created_at=status.created_at, labels=status.labels, annotations=status.annotations)
                for status, owner in self._containers.values() if _matches(status.labels, labels)]

    async def container_status(self, container_id: str, *, verbose: bool = False) -> pb.ContainerStatusResponse:
        await self._asked("container_status", container_id)
        return pb.ContainerStatusResponse(status=self._container(container_id)[0])

    async def update_container(self, container_id: str, resources: pb.LinuxContainerResources) -> None:
        await self._asked("update_container", container_id)
        self._container(container_id)[0].resources.linux.CopyFrom(resources)

    async def reopen_log(self, container_id: str) -> None:
        await self._asked("reopen_log", container_id)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: int) -> pb.ExecSyncResponse:
        await self._asked("exec_sync", " ".join(command))
        status, _ = self._container(container_id)
        if status.state != pb.CONTAINER_RUNNING:
            raise CriError("UNKNOWN", "container is in CONTAINER_EXITED state")
        code, output = self.on_exec(status.metadata.name, command)
        return pb.ExecSyncResponse(stdout=output, exit_code=code)

    async def exec(self, request: pb.ExecRequest) -> str:
        await self._asked("exec", request.container_id)
        return "http://127.0.0.1:1/exec/token"

    async def attach(self, request: pb.AttachRequest) -> str:
        await self._asked("attach", request.container_id)
        return "http://127.0.0.1:1/attach/token"

    async def port_forward(self, request: pb.PortForwardRequest) -> str:
        await self._asked("port_forward", request.pod_sandbox_id)
        return "http://127.0.0.1:1/portforward/token"

    async def container_stats(self) -> Sequence[pb.ContainerStats]:
        await self._asked("container_stats")
        return []

    async def sandbox_stats(self) -> Sequence[pb.PodSandboxStats]:
        await self._asked("sandbox_stats")
        return []

    async def checkpoint(self, container_id: str, location: str, timeout: int) -> None:
        raise CriError("UNIMPLEMENTED", "method CheckpointContainer not implemented")

    async def events(self) -> AsyncIterator[pb.ContainerEventResponse]:
        if not self._events_supported:
            raise CriError("UNIMPLEMENTED", "unknown method GetContainerEvents for service runtime.v1.RuntimeService")
        queue: asyncio.Queue[pb.ContainerEventResponse] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    # --- ImageService ---

    async def list_images(self) -> Sequence[pb.Image]:
        await self._asked("list_images")
        return list(self.images.values())

    async def image_status(self, image: str) -> pb.Image | None:
        await self._asked("image_status", image)
        return next((found for found in self.images.values() if image in (found.id, *found.repo_tags)), None)

    async def pull_image(self, image: str, auth: pb.AuthConfig | None, sandbox: pb.PodSandboxConfig | None) -> str:
        await self._asked("pull_image", image)
        if image not in self.remote:
            raise CriError("UNKNOWN", f'failed to pull and unpack image "{image}": not found')
        return self.add_image(image).id

    async def remove_image(self, image: str) -> None:
        await self._asked("remove_image", image)
        for name in [name for name, found in self.images.items() if image in (found.id, *found.repo_tags)]:
            del self.images[name]

    async def image_fs(self) -> pb.ImageFsInfoResponse:
        await self._asked("image_fs")
        return pb.ImageFsInfoResponse(image_filesystems=[pb.FilesystemUsage(timestamp=self._now())])

    async def close(self) -> None: ...

    # --- within ---

    def _now(self) -> int:
        return int(self.clock.now() * 1e9)

    def _container(self, container_id: str) -> tuple[pb.ContainerStatus, str]:
        if container_id not in self._containers:
            raise CriError("NOT_FOUND", f"an error occurred when try to find container {container_id!r}: not found")
        return self._containers[container_id]

    def _end(self, status: pb.ContainerStatus, code: int, reason: str) -> None:
        status.state, status.exit_code, status.finished_at = pb.CONTAINER_EXITED, code, self._now()
        status.reason = reason or ("Completed" if code == 0 else "Error")
        _, sandbox_id = self._containers[status.id]
        self._tell(sandbox_id, status.id, pb.CONTAINER_STOPPED_EVENT)

    def _tell(self, sandbox_id: str, container_id: str, kind: pb.ContainerEventType) -> None:
        event = pb.ContainerEventResponse(
            container_id=container_id, container_event_type=kind, pod_sandbox_status=self._sandboxes[sandbox_id],
            containers_statuses=[status for status, owner in self._containers.values() if owner == sandbox_id])
        for queue in self._listeners:
            queue.put_nowait(event)


def _matches(labels: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    return all(labels.get(key) == value for key, value in (wanted or {}).items())
