"""The scheduler's loop: take a pod, decide, count it on its node, and let a few workers bind; or say why not.

Deciding never waits, so nothing changes while a pod is looked at (where extenders are asked, the decision is made once more with what
they said). The pod is counted on its node from the decision on (assumed); if the API never shows it there, it stops counting after
`binding.ASSUMED_SECONDS`.
"""
from __future__ import annotations

import asyncio
import random

from kubepy.base.clock import Clock, SystemClock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import ActionRecorder
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.scheduler import metric, timing
from kubepy.scheduler.advice import advise
from kubepy.scheduler.binding import Binder, Binding
from kubepy.scheduler.config import Config
from kubepy.scheduler.cycle import Decision, decide
from kubepy.scheduler.extender import interested
from kubepy.scheduler.failure import ERROR, UNSCHEDULABLE, Reporter
from kubepy.scheduler.framework import Handle, NotBound, Profile
from kubepy.scheduler.permit import WaitingPods
from kubepy.scheduler.queue import Entry, Queue
from kubepy.scheduler.snapshot import Snapshot
from kubepy.scheduler.timing import Timing
from kubepy.scheduler.watch import Feed

log = get_logger("scheduler")

BATCH_SECONDS = 0.005
"""How long the loop decides at a stretch before others get the processor."""


class Scheduler:
    """Runs until cancelled. `snapshot` and `queue` can be read by whoever explains or measures."""

    def __init__(self, client: Client, config: Config, recorder: ActionRecorder, clock: Clock | None = None,
                 rng: random.Random | None = None) -> None:
        self.config = config
        self.snapshot = Snapshot(hard_pod_affinity_weight=_hard_weight(config))
        self.client = client
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._tasks = Tasks("scheduler", self._clock)
        self.queue = Queue(self._clock, config.profiles, config.initial_backoff, config.max_backoff)
        self.waiting = WaitingPods(self._clock)
        self.feed = Feed(self.snapshot, self.queue, gone=lambda pod: self.waiting.reject(pod.uid, "", "removed"))
        self._reporter = Reporter(client, recorder, self._clock, self._tasks, config.parallelism)
        self._binder = Binder(self.snapshot, self.queue, self.waiting, recorder, self._reporter, self._clock, self._tasks, config.extenders)
        for profile in config.profiles.values():
            handle = Handle(client, self._clock, recorder, profile, self.snapshot, self._tasks, self.waiting, self._rng, self.feed.budgets,
                            self.queue.activate, config.extenders)
            for plugin in profile.plugins:
                plugin.handle = handle

    def register(self, factory: InformerFactory, *, devices: str = "v1") -> None:
        """Subscribes to nodes, pods and what else the scheduler looks at; devices in a version of resource.k8s.io ("": not, for now)."""
        whole = any(not extender.cache_capable for extender in self.config.extenders)
        self.feed.register(factory, devices=devices, whole_nodes=whole)
        for extender in self.config.extenders:
            extender.node_of = self.feed.node_object

    async def run(self, factory: InformerFactory) -> None:
        """Decides and binds once the informers (which the caller has started) know the cluster."""
        await factory.wait_synced()
        log.info("Caches are synced, scheduling", nodes=len(self.snapshot), pods=len(self.snapshot.placed), pending=len(self.queue))
        tasks = self._tasks
        try:
            for number in range(self.config.parallelism):
                tasks.keep(self._binder.work, f"bind-{number}")
            tasks.keep(self._flush_loop, "flush")
            await tasks.keep(self._decide_loop, "decide")
        finally:
            await tasks.stop()
            for extender in self.config.extenders:
                await extender.close()

    async def _decide_loop(self) -> None:
        began = self._clock.monotonic()
        while True:
            entry = await self.queue.pop()
            try:
                await self._try(entry)
            except Exception as error:  # a fault in one plugin, or over one pod, must not stop the others
                if not isinstance(error, NotBound):
                    log.error("Scheduling failed", error, pod=entry.pod.key)
                metric.ATTEMPTS.labels("error", entry.pod.scheduler).inc()
                self.queue.failed(entry, ())
                self._reporter.failed(entry.pod, ERROR, str(error))
            if self._clock.monotonic() - began > BATCH_SECONDS:
                await asyncio.sleep(0)
                began = self._clock.monotonic()

    async def _try(self, entry: Entry) -> None:
        pod = entry.pod
        profile = self.config.profiles[pod.scheduler]
        began = self._clock.monotonic()
        decision = await self._decide(entry, profile)
        metric.ALGORITHM_SECONDS.observe(self._clock.monotonic() - began)
        if decision.unfit is not None:
            await self._refused(entry, profile, decision, began)
            return
        log.v(3).info("Decided", pod=pod.key, node=decision.node, feasible=decision.feasible, nodes=len(self.snapshot))
        await self._binder.start(Binding(entry, decision.cycle, decision.node, began, pod, profile))

    async def _decide(self, entry: Entry, profile: Profile) -> Decision:
        pod, measured = entry.pod, Timing(profile.name, self._rng)
        asked = [e for e in interested(self.config.extenders, pod) if e.filters or e.prioritizes]
        if not asked:
            return decide(pod, self.snapshot, profile, self._rng, timing=measured)
        advice = await advise(pod, self.snapshot, profile, asked)
        return decide(pod, self.snapshot, profile, self._rng, advice=advice, timing=measured)

    async def _refused(self, entry: Entry, profile: Profile, decision: Decision, began: float) -> None:
        unfit, pod = decision.unfit, entry.pod
        assert unfit is not None
        nominated: str | None = None
        said: list[str] = []
        started = self._clock.monotonic()
        for plugin in profile.points["postFilter"] if unfit.nodes else ():
            rescue = await plugin.post_filter(decision.cycle, unfit)
            if rescue is None:
                continue
            if rescue.message:
                said.append(rescue.message)
            if rescue.nominate is not None:
                nominated = rescue.nominate
            if rescue.final:
                break
        if unfit.nodes and profile.points["postFilter"] and decision.cycle.timing is not None:
            decision.cycle.timing.point("PostFilter", self._clock.monotonic() - started, "Success" if nominated else "Unschedulable")
        if not nominated:
            unfit.after = ", ".join(said)
        message = unfit.message()
        metric.ATTEMPTS.labels("unschedulable", profile.name).inc()
        metric.ATTEMPT_SECONDS.labels("unschedulable", profile.name).observe(self._clock.monotonic() - began)
        log.v(2).info("Unable to schedule pod; no fit; waiting", pod=pod.key, err=message)
        self.queue.failed(entry, unfit.plugins or {"NodeResourcesFit", "NodeName", "NodeAffinity"})
        self._reporter.failed(pod, UNSCHEDULABLE, message, nominated)

    async def _flush_loop(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            self.queue.flush()
            for pod in self.snapshot.expire(self._clock.monotonic()):
                log.warning("The pod was bound but never shown on its node", pod=pod.key, node=pod.node)
            self.queue.measure()
            timing.flush()
            for name, count in (("nodes", len(self.snapshot)), ("pods", len(self.snapshot.placed)),
                                ("assumed_pods", len(self.snapshot.assumed))):
                metric.CACHE_SIZE.labels(name).set(count)


def _hard_weight(config: Config) -> int:
    for profile in config.profiles.values():
        for plugin in profile.plugins:
            if plugin.name == "InterPodAffinity":
                return int(plugin.args.get("hardPodAffinityWeight", 1))
    return 1
