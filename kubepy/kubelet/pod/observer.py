"""What the runtime has of a pod: read whole, or only what has just been made; and what ended containers have left to say."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from kubepy.base.clock import Clock
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.cri.lists import Lists
from kubepy.kubelet.pod.message import termination_message
from kubepy.kubelet.pod.observed import ContainerView, PodView, container_view, pod_view, sandbox_view


class Observer:
    """Reads one runtime for all pods."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._lists = Lists(runtime)
        self._messages: dict[str, str] = {}

    async def observe(self, uid: str) -> PodView:
        """Everything the runtime has of the pod. Raises CriError."""
        sandboxes, containers = await self._lists.of(uid)
        read = self._clock.monotonic()
        statuses = await asyncio.gather(*(self._sandbox(sandbox.id) for sandbox in sandboxes))
        views = await asyncio.gather(*(self._container(container.id, container.pod_sandbox_id) for container in containers))
        return pod_view(uid, [status for status in statuses if status is not None], [view for view in views if view is not None], read)

    async def with_sandbox(self, view: PodView, sandbox_id: str) -> PodView:
        """The pod after its sandbox was made. Raises CriError."""
        if view.sandboxes or view.containers:
            return await self.observe(view.uid)  # those before have just been stopped
        read = self._clock.monotonic()
        status = await self._sandbox(sandbox_id)
        return await self.observe(view.uid) if status is None else view.having(sandbox_view(status, read), ())

    async def with_containers(self, view: PodView, sandbox_id: str, ids: Sequence[str]) -> PodView:
        """The pod after these containers were made in its sandbox; what the others do is told by the look at all pods. Raises CriError."""
        read = self._clock.monotonic()
        found = await asyncio.gather(*(self._container(container_id, sandbox_id) for container_id in ids))
        return view.having(None, [container_view(status, sandbox, read) for status, sandbox in filter(None, found)])

    async def _sandbox(self, sandbox_id: str) -> pb.PodSandboxStatus | None:
        try:
            return (await self._runtime.sandbox_status(sandbox_id)).status
        except CriError as error:
            if error.not_found:
                return None
            raise

    async def _container(self, container_id: str, sandbox_id: str) -> tuple[pb.ContainerStatus, str] | None:
        try:
            status = (await self._runtime.container_status(container_id)).status
        except CriError as error:
            if error.not_found:
                return None
            raise
        if status.state == pb.CONTAINER_EXITED and container_id not in self._messages:
            self._messages[container_id] = termination_message(status)
        return status, sandbox_id

    def messages(self, view: PodView) -> dict[str, str]:
        """Termination messages by container ID."""
        return {container.id: text for container in view.containers if (text := self._messages.get(container.id))}

    def forget(self, containers: Iterable[ContainerView]) -> None:
        """They are removed from the runtime."""
        for container in containers:
            self._messages.pop(container.id, None)
