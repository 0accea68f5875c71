"""Keeps the policies of one node in force: watches, plans, writes; within a few hundred milliseconds of a change.

Pods and namespaces are watched only once there is a policy: a cluster without any pays nothing. What is written stays when this
process ends.
"""
from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from kubepy.api.resource import NAMESPACES, NETWORK_POLICIES, NODES, PODS
from kubepy.api.types import Object
from kubepy.base import boot
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.informer import InformerFactory
from kubepy.proxy.backend import BackendError
from kubepy.proxy.network.plan import pod_ranges
from kubepy.proxy.policy import transaction
from kubepy.proxy.policy.plan import plan
from kubepy.proxy.policy.ruleset import Ruleset
from kubepy.proxy.program import run

log = get_logger("policy")

GATHER = 0.05
"""Seconds in which further changes are waited for."""
PERIOD = 30.0
"""Seconds between looks at whether the table is still there."""


def slim(pod: Object) -> Object:
    """Only what policies look at: a node keeps every pod of the cluster."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    return {"metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "labels") if key in metadata},
            "spec": {"nodeName": spec.get("nodeName"), "hostNetwork": spec.get("hostNetwork"),
                     **{kind: [{"ports": item["ports"], "restartPolicy": item.get("restartPolicy")} for item in spec.get(kind) or []
                               if "ports" in item] for kind in ("initContainers", "containers")}},
            "status": {"phase": status.get("phase"), "podIPs": status.get("podIPs")}}


class Enforcer:
    """`node` is this node's name. `ready` is written as soon as policies are in force for the first time in this boot (`base.boot`):
    a machine that starts has lost its rules but not its pods, and the kubelet lets none of them on the network before. `ipvs`: that is
    what makes Services reachable here."""

    def __init__(self, node: str, clock: Clock, ready: Path | None = None, *, ipvs: bool = False) -> None:
        self._node, self._clock, self._ready, self._ipvs = node, clock, ready, ipvs
        self._changed = asyncio.Event()
        self._written: Ruleset | None = None
        self._watching = False

    def register(self, factory: InformerFactory) -> None:
        self._factory = factory
        self._policies = factory.informer(NETWORK_POLICIES)
        self._nodes = factory.informer(NODES)
        self._policies.add_handler(self._seen, lambda _, new: self._seen(new), self._seen)
        self._nodes.add_handler(self._seen, lambda old, new: self._seen(new) if pod_ranges(old) != pod_ranges(new) else None)

    def _seen(self, obj: Object) -> None:
        self._changed.set()

    def _pod_changed(self, old: Object, new: Object) -> None:
        labels = (obj["metadata"].get("labels") for obj in (old, new))
        if next(labels) != next(labels) or any(old.get(part) != new.get(part) for part in ("spec", "status")):
            self._changed.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._policies.wait_synced()
        await self._nodes.wait_synced()
        backoff = Backoff(0.5, PERIOD)
        while True:
            self._changed.clear()
            wait = PERIOD
            try:
                await self.sync()
                self._say_ready()
                backoff.reset()
            except (BackendError, OSError) as error:
                self._written = None
                wait = backoff.next()
                log.error("Network policies are not in force; trying again", error, delay=wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            await self._clock.sleep(GATHER)

    def _say_ready(self) -> None:
        if self._ready is not None and not boot.marked(self._ready):  # or no longer: somebody has tidied up
            boot.mark(self._ready)

    async def sync(self) -> None:
        """Writes what differs from what was written last; everything where it is not there (any more)."""
        policies = list(self._policies.lister)
        if policies and not self._watching:
            await self._watch_pods()
        if not policies:
            await self._clear()
            return
        if self._written is not None and not await self._present():
            log.warning("The table of network policies has been removed by someone else; writing it again")
            self._written = None
        own = pod_ranges(self._nodes.lister.by_key(self._node) or {})
        wanted = plan(policies, self._pods.lister, self._namespaces.lister, self._node, [str(cidr) for cidr in own],
                      ipvs=self._ipvs)
        if text := transaction.change(self._written, wanted):
            await run("nft", "-f", "-", stdin=text.encode())
            log.v(2).info("Wrote network policies", policies=len(policies), bytes=len(text))
        self._written = wanted

    async def _clear(self) -> None:
        """Without policies nothing is wanted of nft, nor missed where it does not work."""
        if self._written is None or self._written.chains:
            try:
                await run("nft", "-f", "-", stdin=transaction.remove().encode())
            except BackendError as error:
                if self._written is not None:
                    raise
                log.v(1).info("This node cannot keep network policies", err=error)
            self._written = Ruleset()

    async def _watch_pods(self) -> None:
        self._pods = self._factory.informer(PODS, transform=slim)
        self._namespaces = self._factory.informer(NAMESPACES)
        for informer in (self._pods, self._namespaces):
            informer.add_handler(self._seen, self._pod_changed, self._seen)
            await informer.wait_synced()
        self._watching = True

    async def _present(self) -> bool:
        family, name = transaction.TABLE.split()
        return f"table {family} {name}\n" in (await run("nft", "list", "tables", family)).decode()


async def cleanup() -> None:
    """Takes the table away. Raises BackendError."""
    await run("nft", "-f", "-", stdin=transaction.remove().encode())
