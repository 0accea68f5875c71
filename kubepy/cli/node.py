"""What the cluster commands do to this node's pods through the container runtime."""
from __future__ import annotations

import asyncio

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


async def _stop_pod(runtime: Runtime, sandbox: pb.PodSandbox, containers: list[str]) -> None:
    try:
        await asyncio.gather(*(runtime.stop_container(container, GRACE) for container in containers))
        await runtime.stop_sandbox(sandbox.id)
    except CriError as error:
        log.error("A pod could not be stopped", error, pod=f"{sandbox.metadata.namespace}/{sandbox.metadata.name}")
