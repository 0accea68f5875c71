"""When rules are written: soon after a change, never more often than `min_period` allows, again after a failure, and all of them when
somebody else has flushed them (looked at every `check_period`)."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kubepy.api.resource import ENDPOINT_SLICES, NODES, SERVICES
from kubepy.api.service import SLICES, service_key, service_keys
from kubepy.api.types import Object
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock, parse_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import Counter, Gauge
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
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
"""Says when the pod or Service changed for whose sake a slice was written."""
OURS = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"


@dataclass(slots=True)
class Options:
    """Times in seconds. `local_addresses` gives every address of this machine; it is asked where node ports are limited to some."""

    node: str = ""
    min_period: float = 1.0
    check_period: float = 30.0
    own_address: str = ""
    """Of the node, if its object shall not say it (`--bind-address`)."""
    node_port_ranges: Sequence[str] = ()
    local_addresses: Callable[[], Iterable[str]] = tuple
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
        self._local_addresses: frozenset[str] = frozenset()
        self._began = clock.now()
        self._triggers: list[float] = []
        """When what is not written yet was caused."""
        self._pending: dict[Gauge, int] = {metric.SERVICE_PENDING: 0, metric.ENDPOINT_PENDING: 0}

    def register(self, factory: InformerFactory) -> None:
        self._services: Informer = factory.informer(SERVICES, label_selector=OURS)
        self._slices: Informer = factory.informer(ENDPOINT_SLICES, label_selector=OURS)
        self._slices.add_index(SLICES, service_keys)
        self._services.add_handler(self._service_changed, lambda _, new: self._service_changed(new), self._service_changed)
        self._slices.add_handler(self._slice_written, self._slice_replaced, self._slice_changed)
        if self._options.node:
            nodes = factory.informer(NODES, field_selector=f"metadata.name={self._options.node}")
            nodes.add_handler(self._node_changed, lambda _, new: self._node_changed(new), None)

    async def run(self, factory: InformerFactory) -> None:
        """Runs until cancelled. A restart of the proxy disturbs nothing: until the caches are full no rule is touched."""
        await factory.wait_synced()
        self._look_at_addresses()
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
        self._count(metric.SERVICE_CHANGES, metric.SERVICE_PENDING)
        self._dirty.add(key_of(obj))
        self._mark()

    def _slice_changed(self, obj: Object) -> None:
        if key := service_key(obj):
            self._count(metric.ENDPOINT_CHANGES, metric.ENDPOINT_PENDING)
            self._dirty.add(key)
            self._mark()

    def _slice_written(self, obj: Object) -> None:
        if caused := (obj["metadata"].get("annotations") or {}).get(TRIGGER_TIME):
            with suppress(ValueError):
                moment = parse_time(caused)
                if moment > self._began:  # older changes were another proxy's
                    self._triggers.append(moment)
        self._slice_changed(obj)

    def _count(self, changes: Counter, pending: Gauge) -> None:
        self._pending[pending] += 1
        for family in self._backends:
            changes.labels(family).inc()
            pending.labels(family).set(self._pending[pending])

    def _slice_replaced(self, old: Object, new: Object) -> None:
        if service_key(old) != service_key(new):
            self._slice_changed(old)
        self._slice_written(new)

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
        for family in self._backends:
            metric.LAST_QUEUED.labels(family).set(self._clock.now())
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
            triggers, self._triggers = self._triggers, []
            for pending in self._pending:
                self._pending[pending] = 0
            failure: BackendError | None = None
            for family, backend in self._backends.items():
                cache = self._caches[family]
                began = self._clock.monotonic()
                if fresh:
                    fronts = cache.set_node(self._node_info(family), {*dirty, *(key_of(s) for s in self._services.lister)})
                else:
                    fronts = cache.refresh(dirty)
                try:
                    whole = await backend.apply(cache.state)
                except BackendError as error:
                    failure = error
                    continue
                self._report(family, self._clock.monotonic() - began, whole, triggers)
                if fronts and self._options.clear_conntrack:
                    await conntrack.clear(family, fronts, self._clock)
            if self._ports is not None:
                await self._ports.sync([cache.state for cache in self._caches.values()])
            if failure is not None:
                raise failure

    def _report(self, family: Family, seconds: float, whole: bool, triggers: Iterable[float]) -> None:
        now = self._clock.now()
        self._health.updated(family)
        for seen in (metric.SYNC_SECONDS, metric.FULL_SECONDS if whole else metric.PARTIAL_SECONDS):
            seen.labels(family).observe(seconds)
        metric.LAST_SYNC.labels(family).set(now)
        for pending in self._pending:
            pending.labels(family).set(0)
        for policy, names in self._caches[family].without_local.items():
            metric.NO_LOCAL.labels(family, policy).set(len(names))
        for moment in triggers:
            metric.PROGRAMMING_SECONDS.labels(family).observe(now - moment)

    def _node_info(self, family: Family) -> NodeInfo:
        node = self._node_object or {}
        labels = (node.get("metadata") or {}).get("labels") or {}
        addresses = (node.get("status") or {}).get("addresses") or ()
        own = next((a["address"] for a in addresses if a.get("type") == "InternalIP" and of_family(a["address"], family)), "")
        if of_family(self._options.own_address, family) and self._options.own_address not in ("0.0.0.0", "::"):
            own = self._options.own_address
        return NodeInfo(name=self._options.node, zone=labels.get("topology.kubernetes.io/zone") or "", ip=own,
                        addresses=node_port_addresses(self._options.node_port_ranges, self._local_addresses, family, own))

    def _look_at_addresses(self) -> bool:
        """Whether this machine's addresses are still the same, where node ports depend on them."""
        found = frozenset(self._options.local_addresses()) if self._options.node_port_ranges else frozenset()
        before, self._local_addresses = self._local_addresses, found
        return before == found

    async def _check_loop(self) -> None:
        while True:
            await self._clock.sleep(self._options.check_period)
            if not self._look_at_addresses():
                self._node = None
                self._mark()
            async with self._lock:
                intact = [await backend.intact() for backend in self._backends.values()]
            if not all(intact):
                self._mark()


def _about(node: Object) -> tuple[object, ...]:
    """What the rules depend on."""
    labels = (node.get("metadata") or {}).get("labels") or {}
    return labels.get("topology.kubernetes.io/zone"), (node.get("status") or {}).get("addresses")
