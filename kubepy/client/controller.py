"""Controllers: a reconcile function and what wakes it; queueing, retries, failures, metrics and logs live here once.

    Controller("replicaset", reconciler.reconcile, (
        Watch(REPLICA_SETS, keys=own_key),
        Watch(PODS, keys=owner_key("ReplicaSet"), observe=reconciler.observe_pod),
    ), workers=5)

`reconcile(key)` brings one object to its desired state and returns None, or the seconds after which it wants to look
again. What it raises is logged and retried with back-off; a lost race (Conflict) is retried quietly.
"""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from kubepy.api.errors import ApiError, Conflict
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.log import get_logger
from kubepy.base.metrics import Counter, counter
from kubepy.base.task import Tasks
from kubepy.client.informer import ASK_AGAIN, Informer, InformerFactory
from kubepy.client.queue import ShutDown, WorkQueue
from kubepy.client.store import join_key, key_of

Reconcile = Callable[[str], Awaitable[float | None]]
Keys = Callable[[Object], Iterable[str]]
Observe = Callable[[Object | None, Object | None], None]
When = Callable[[Object | None, Object | None], bool]

RECONCILES = counter("controller_runtime_reconcile_total", "Total number of reconciliations per controller", ("controller", "result"))


def own_key(obj: Object) -> tuple[str, ...]:
    return (key_of(obj),)


def owner_key(kind: str) -> Keys:
    """The key of the controlling owner, when it is of that kind."""

    def keys(obj: Object) -> tuple[str, ...]:
        metadata = obj["metadata"]
        for reference in metadata.get("ownerReferences") or ():
            if reference.get("controller") and reference["kind"] == kind:
                return (join_key(metadata.get("namespace"), reference["name"]),)
        return ()

    return keys


@dataclass(frozen=True, slots=True)
class Watch:
    """Which changes of a resource wake which keys. For an update the keys of both states are woken.

    Without `keys` it wakes none: the controller only reads the cache. `observe(old, new)` sees each change before keys are
    queued (old is None for an addition, new for a deletion); `when(old, new)` says whether keys are queued at all; `delay`
    seconds are waited before they are. With `owned_by` only objects whose controller is of that kind count, and those without one."""

    resource: Resource
    keys: Keys | None = own_key
    observe: Observe | None = None
    when: When | None = None
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""
    delay: float = 0.0
    owned_by: str = ""


@dataclass(frozen=True, slots=True)
class Controller:
    """`start`, if given, runs beside the workers with the queue (for periodic work and keys that come from elsewhere)."""

    name: str
    reconcile: Reconcile
    watches: tuple[Watch, ...]
    workers: int = 1
    start: Callable[[WorkQueue[str]], Awaitable[None]] | None = None
    supersedes: bool = False
    """When it is to look again is what it said last, not the earliest it has ever said."""
    initial_backoff: float = 0.005
    maximum_backoff: float = 1000.0


@dataclass(slots=True)
class Runtime:
    """Runs one controller. Register before the informers start, `run` after."""

    controller: Controller
    informers: InformerFactory
    clock: Clock = field(default_factory=SystemClock)
    queue: WorkQueue[str] = field(init=False)
    _results: dict[str, Counter] = field(init=False)

    def __post_init__(self) -> None:
        controller = self.controller
        self.queue = WorkQueue(controller.name, self.clock, initial=controller.initial_backoff, maximum=controller.maximum_backoff)
        self._results = {result: RECONCILES.labels(controller.name, result)
                         for result in ("success", "requeue_after", "conflict", "error", "panic")}
        for watch in controller.watches:
            self._register(watch)

    async def run(self) -> None:
        """Waits for the caches, then works until cancelled. As long as the server lacks a resource that is watched, it stands by."""
        log = get_logger(self.controller.name)
        watched = [self._informer(watch) for watch in self.controller.watches]
        for informer in watched:
            await informer.wait_synced()
        if lacking := [informer.resource.group_resource for informer in watched if informer.missing]:
            log.warning("Standing by: the server does not serve what this controller works with", resources=",".join(lacking))
            while any(informer.missing for informer in watched):
                await self.clock.sleep(ASK_AGAIN)
        log.v(1).info("Starting workers", count=self.controller.workers)
        tasks = Tasks(self.controller.name, self.clock)
        start = self.controller.start
        try:
            workers = [tasks.keep(self._work, f"worker-{i}") for i in range(self.controller.workers)]
            if start is not None:
                tasks.keep(lambda: start(self.queue), "start")
            await asyncio.gather(*workers)
        finally:
            await self.queue.shut_down()
            await tasks.stop()

    def _informer(self, watch: Watch) -> Informer:
        return self.informers.informer(watch.resource, watch.namespace, field_selector=watch.field_selector,
                                       label_selector=watch.label_selector)

    def _register(self, watch: Watch) -> None:
        informer = self._informer(watch)
        keys, observe, when, delay = watch.keys, watch.observe, watch.when, watch.delay
        if keys is None and observe is None:
            return
        add, add_after = self.queue.add, self.queue.add_after

        def queue(key: str) -> None:
            add_after(key, delay)

        enqueue = queue if delay > 0 else add

        def added(obj: Object) -> None:
            if observe is not None:
                observe(None, obj)
            if keys is not None and (when is None or when(None, obj)):
                for key in keys(obj):
                    enqueue(key)

        def updated(old: Object, new: Object) -> None:
            if observe is not None:
                observe(old, new)
            if keys is None or (when is not None and not when(old, new)):
                return
            found = keys(new)
            for key in found:
                enqueue(key)
            if keys is not own_key and (before := keys(old)) != found:
                for key in before:
                    enqueue(key)

        def deleted(obj: Object) -> None:
            if observe is not None:
                observe(obj, None)
            if keys is not None and (when is None or when(obj, None)):
                for key in keys(obj):
                    enqueue(key)

        informer.add_handler(added, updated, deleted, owned_by=watch.owned_by)

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self._process(key)
            finally:
                self.queue.done(key)

    async def _process(self, key: str) -> None:
        name, queue = self.controller.name, self.queue
        try:
            again = await self.controller.reconcile(key)
        except Conflict as error:
            self._results["conflict"].inc()
            get_logger(name).v(4).info("Lost a race, retrying", key=key, err=error)
            queue.add_rate_limited(key)
        except (ApiError, ConnectionError) as error:
            self._results["error"].inc()
            get_logger(name).warning("Cannot reconcile, retrying", key=key, err=error, retries=queue.failures(key))
            queue.add_rate_limited(key)
        except Exception as error:  # a bug in one reconcile must not end the worker
            self._results["panic"].inc()
            get_logger(name).error("Reconcile failed", error, key=key, retries=queue.failures(key))
            queue.add_rate_limited(key)
        else:
            queue.forget(key)
            if self.controller.supersedes:
                queue.drop_later(key)
            if again is None:
                self._results["success"].inc()
            else:
                self._results["requeue_after"].inc()
                queue.add_after(key, again)
