"""What the runtime has, listed once for all who want to know: fifty pods that start together ask for one list, not for fifty.

A list answers those who asked before it began, so that nobody is told of a state older than the question.
"""
from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import Runtime
from kubepy.kubelet.pod import spec as podspec

Listed = Mapping[str, tuple[list[pb.PodSandbox], list[pb.Container]]]
"""By pod UID."""
_NOTHING: tuple[list[pb.PodSandbox], list[pb.Container]] = ([], [])


class Lists:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._under_way: asyncio.Future[Listed] | None = None
        self._next: asyncio.Future[Listed] | None = None

    async def of(self, uid: str) -> tuple[Sequence[pb.PodSandbox], Sequence[pb.Container]]:
        """The pod's sandboxes and containers. Raises CriError."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._list(self._under_way))
        found = await asyncio.shield(self._next)
        return found.get(uid, _NOTHING)

    async def _list(self, before: asyncio.Future[Listed] | None) -> Listed:
        if before is not None:
            await asyncio.wait({before})
        self._under_way, self._next = self._next, None
        sandboxes, containers = await asyncio.gather(self._runtime.list_sandboxes(), self._runtime.list_containers())
        found: dict[str, tuple[list[pb.PodSandbox], list[pb.Container]]] = {}
        for sandbox in sandboxes:
            found.setdefault(sandbox.metadata.uid, ([], []))[0].append(sandbox)
        for container in containers:
            found.setdefault(container.labels.get(podspec.POD_UID, ""), ([], []))[1].append(container)
        return found
