"""What the cluster commands do to this node's pods through the container runtime."""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from kubepy.base.log import get_logger
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.interface import CriError, Runtime

log = get_logger("node")

GRACE = 10
"""Seconds a container gets to end when the whole node is taken down."""
PARALLEL = 8


async def stop_pods(endpoint: str) -> int:
    """Stops every pod's containers, then its sandbox (which frees its address); returns how many there were.

    A pod that cannot be stopped is logged and does not keep the others."""
    runtime = GrpcRuntime(endpoint)
    try:
        sandboxes = [item for item in await runtime.list_sandboxes() if item.state == pb.SANDBOX_READY]
        containers = await runtime.list_containers()
        limit = asyncio.Semaphore(PARALLEL)

        async def stop(sandbox: pb.PodSandbox) -> None:
            async with limit:
                mine = [item.id for item in containers if item.pod_sandbox_id == sandbox.id]
                await _stop_pod(runtime, sandbox, mine)

        await asyncio.gather(*(stop(sandbox) for sandbox in sandboxes))
        return len(sandboxes)
    finally:
        await runtime.close()


def kill_leftovers(socket: str) -> int:
    """Kills what still runs under shims of the containerd at `socket`, which must be stopped; returns how many shims there were.

    Only for removing a cluster: a shim outlives its containerd on purpose."""
    shims = [pid for pid, argv in _commands() if argv and "containerd-shim" in argv[0] and socket in argv]
    for shim in shims:
        for pid in (*_descendants(shim), shim):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return len(shims)


def _commands() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield int(path.parent.name), path.read_text(errors="replace").split("\0")


def _descendants(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *_descendants(child)]
    return found


async def _stop_pod(runtime: Runtime, sandbox: pb.PodSandbox, containers: list[str]) -> None:
    try:
        await asyncio.gather(*(runtime.stop_container(container, GRACE) for container in containers))
        await runtime.stop_sandbox(sandbox.id)
    except CriError as error:
        log.error("A pod could not be stopped", error, pod=f"{sandbox.metadata.namespace}/{sandbox.metadata.name}")
