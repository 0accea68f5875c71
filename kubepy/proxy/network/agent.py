"""Keeps the pod network between nodes as the Node objects say: after each change that matters, and every half minute in any case."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.informer import InformerFactory
from kubepy.proxy.backend import BackendError
from kubepy.proxy.network import kernel, masquerade
from kubepy.proxy.network.plan import internal_ips, plan, pod_ranges

log = get_logger("network")

PERIOD = 30.0
"""Seconds between looks at what the kernel has."""


class NetworkAgent:
    """One node's. `cluster` are the ranges of all pods, one a family, whose traffic out of them is masqueraded."""

    def __init__(self, node: str, backend: str, cluster: Sequence[str], clock: Clock) -> None:
        self._node, self._backend, self._cluster, self._clock = node, backend, cluster, clock
        self._changed = asyncio.Event()
        self._unreachable: tuple[str, ...] = ()

    def register(self, factory: InformerFactory) -> None:
        self._nodes = factory.informer(NODES)
        self._nodes.add_handler(self._seen, self._replaced, self._seen)

    def _seen(self, node: Object) -> None:
        self._changed.set()

    def _replaced(self, old: Object, new: Object) -> None:
        """Heartbeats change a Node every few minutes, and nothing here."""
        if (internal_ips(old), pod_ranges(old)) != (internal_ips(new), pod_ranges(new)):
            self._changed.set()

    async def run(self) -> None:
        """Runs until cancelled. What is set stays when it ends: pods keep talking while the agent is away."""
        await self._nodes.wait_synced()
        backoff = Backoff(0.5, PERIOD)
        while True:
            self._changed.clear()
            wait = PERIOD
            try:
                await self.sync()
                backoff.reset()
            except (kernel.NetworkError, BackendError, OSError) as error:
                wait = backoff.next()
                log.error("The pod network is not complete; trying again", error, delay=wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def sync(self) -> None:
        nodes = list(self._nodes.lister)
        own = next((node for node in nodes if node["metadata"]["name"] == self._node), None)
        addresses = internal_ips(own) if own is not None else ()
        if not addresses:
            return
        for cluster in self._cluster:
            if await masquerade.ensure(cluster):
                log.info("Wrote the pod network's packet rules", cluster=cluster)
        wanted = plan(self._node, nodes, self._backend)
        changes = await asyncio.to_thread(kernel.apply, wanted, self._backend, addresses[0])
        if wanted.unreachable != self._unreachable:
            self._unreachable = wanted.unreachable
            if wanted.unreachable:
                log.warning("Some pods cannot be reached", backend=self._backend, pods="; ".join(wanted.unreachable))
        if changes:
            log.info("Changed the pod network", backend=self._backend, changes="; ".join(changes))


async def cleanup() -> None:
    """Takes away all that any backend has set. Raises kernel.NetworkError."""
    await masquerade.remove()
    await asyncio.to_thread(kernel.remove)
