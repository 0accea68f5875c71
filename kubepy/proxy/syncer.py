"""When rules are written: soon after a change, never more often than `min_period` allows, again after a failure, and all of them when
somebody else has flushed them (looked at every `check_period`)."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubepy.api.resource import ENDPOINT_SLICES, NODES, SERVICES
from kubepy.api.service import SLICES, service_key, service_keys
from kubepy.api.types import Object
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.informer import Informer, InformerFactory
from kubepy.client.store import key_of
from kubepy.proxy import conntrack, metric
from kubepy.proxy.backend import Backend, BackendError
from kubepy.proxy.cache import StateCache
from kubepy.proxy.health import HealthCheckPorts, ProxyHealth
from kubepy.proxy.model import Family, NodeInfo, node_port_addresses, of_family

log = get_logger("proxy")

BURST = 2
"""Writes that may follow each other at once after a quiet time."""
OURS = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"


@dataclass(slots=True)
class Options:
    """Times in seconds."""

    node: str = ""
    min_period: float = 1.0
    check_period: float = 30.0
    node_port_ranges: Sequence[str] = ()
    local_addresses: Sequence[str] = field(default_factory=tuple)
    clear_conntrack: bool = True


class Syncer:
    """`backends` by address family."""

    def __init__(self, backends: dict[Family, Backend], options: Options, clock: Clock, health: ProxyHealth,
                 ports: HealthCheckPorts | None = None) -> None:
        self._backends, self._options, self._clock = backends, options, clock
        self._health, self._ports = health, ports
        self._dirty: set[str] = set()
        self._changed = asyncio.Event()
        self._node: NodeInfo | None = None
        self._node_object: Object | None = None
        self._caches = {family: StateCache(family, self._service, self._slices_of) for family in backends}
        self._lock = asyncio.Lock()
        self._tasks = Tasks("proxy", clock)

    def register(self, factory: InformerFactory) -> None:
        self._services: Informer = factory.informer(SERVICES, label_selector=OURS)
        self._slices: Informer = factory.informer(ENDPOINT_SLICES, label_selector=OURS)
        self._slices.add_index(SLICES, service_keys)
        self._services.add_handler(self._service_changed, lambda _, new: self._service_changed(new), self._service_changed)
        self._slices.add_handler(self._slice_changed, self._slice_replaced, self._slice_changed)
        if self._options.node:
            nodes = factory.informer(NODES, field_selector=f"metadata.name={self._options.node}")
            nodes.add_handler(self._node_changed, lambda _, new: self._node_changed(new), None)

    async def run(self, factory: InformerFactory) -> None:
        """Runs until cancelled. A restart of the proxy disturbs nothing: until the caches are full no rule is touched."""
        await factory.wait_synced()
        self._dirty.update(key_of(service) for service in self._services.lister)
        self._mark()
        try:
            self._tasks.keep(self._check_loop, "check")
            await self._tasks.keep(self._sync_loop, "sync")
        finally:
            await self._tasks.stop()
            if self._ports is not None:
                await self._ports.stop()

    # --- changes ---

    def _service(self, key: str) -> Object | None:
        return self._services.lister.by_key(key)

    def _slices_of(self, key: str) -> list[Object]:
        return self._slices.lister.by_index(SLICES, key)

    def _service_changed(self, obj: Object) -> None:
        metric.SERVICE_CHANGES.inc()
        self._dirty.add(key_of(obj))
        self._mark()

    def _slice_changed(self, obj: Object) -> None:
        if key := service_key(obj):
            metric.ENDPOINT_CHANGES.inc()
            self._dirty.add(key)
            self._mark()

    def _slice_replaced(self, old: Object, new: Object) -> None:
        if service_key(old) != service_key(new):
            self._slice_changed(old)
        self._slice_changed(new)

    def _node_changed(self, obj: Object) -> None:
        before, self._node_object = self._node_object, obj
        metadata = obj["metadata"]
        taints = (obj.get("spec") or {}).get("taints") or ()
        self._health.eligible = ("deletionTimestamp" not in metadata
                                 and not any(t.get("key") == "ToBeDeletedByClusterAutoscaler" for t in taints))
        if before is None or _about(before) != _about(obj):
            self._node = None
            self._mark()

    def _mark(self) -> None:
        self._health.queued()
        metric.LAST_QUEUED.set(self._clock.now())
        self._changed.set()

    # --- writing ---

    async def _sync_loop(self) -> None:
        backoff = Backoff(0.5, 30.0)
        period, tokens, last = self._options.min_period, float(BURST), self._clock.monotonic()
        while True:
            await self._changed.wait()
            while True:
                now = self._clock.monotonic()
                tokens = min(float(BURST), tokens + (now - last) / period) if period else 1.0
                last = now
                if tokens >= 1.0:
                    break
                await self._clock.sleep((1.0 - tokens) * period)
            tokens -= 1.0
            self._changed.clear()
            try:
                await self.sync()
                backoff.reset()
            except BackendError as error:
                delay = backoff.next()
                log.error("Cannot write the rules; trying again", error, delay=delay)
                await self._clock.sleep(delay)
                self._changed.set()

    async def sync(self) -> None:
        """Writes what has changed; raises BackendError after having tried every family."""
        async with self._lock:
            dirty, self._dirty = self._dirty, set()
            fresh, self._node = self._node is None, self._node or NodeInfo()
            failure: BackendError | None = None
            flows: list[conntrack.Flows] = []
            for family, backend in self._backends.items():
                cache = self._caches[family]
                began = self._clock.monotonic()
                if fresh:
                    flows += cache.set_node(self._node_info(family), {*dirty, *(key_of(s) for s in self._services.lister)})
                else:
                    flows += cache.refresh(dirty)
                try:
                    await backend.apply(cache.state)
                except BackendError as error:
                    failure = error
                    continue
                metric.SYNC_SECONDS.labels(family).observe(self._clock.monotonic() - began)
                metric.LAST_SYNC.labels(family).set(self._clock.now())
            if flows and self._options.clear_conntrack:
                await conntrack.clear(flows)
            if self._ports is not None:
                await self._ports.sync([cache.state for cache in self._caches.values()])
            if failure is not None:
                raise failure
            self._health.updated()

    def _node_info(self, family: Family) -> NodeInfo:
        node = self._node_object or {}
        labels = (node.get("metadata") or {}).get("labels") or {}
        addresses = (node.get("status") or {}).get("addresses") or ()
        own = next((a["address"] for a in addresses if a.get("type") == "InternalIP" and of_family(a["address"], family)), "")
        return NodeInfo(name=self._options.node, zone=labels.get("topology.kubernetes.io/zone") or "", ip=own,
                        addresses=node_port_addresses(self._options.node_port_ranges, self._options.local_addresses, family, own))

    async def _check_loop(self) -> None:
        while True:
            await self._clock.sleep(self._options.check_period)
            async with self._lock:
                intact = [await backend.intact() for backend in self._backends.values()]
            if not all(intact):
                self._mark()


def _about(node: Object) -> tuple[object, ...]:
    """What the rules depend on."""
    labels = (node.get("metadata") or {}).get("labels") or {}
    return labels.get("topology.kubernetes.io/zone"), (node.get("status") or {}).get("addresses")
