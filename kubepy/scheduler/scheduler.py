"""The scheduler's loop: take a pod, decide, count it on its node, and let a few workers bind; or say why not.

Deciding never waits, so nothing changes while a pod is looked at. Bindings go out concurrently; the pod is counted on its node from
the decision on (assumed). A binding whose answer was lost is looked up before anything is concluded from it, so that no pod is
bound twice and no capacity is lost; if the API never shows the pod on its node, it stops counting after `ASSUMED_SECONDS`.
"""
from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock, format_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import Recorder
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.scheduler import metric
from kubepy.scheduler.config import Config
from kubepy.scheduler.cycle import Decision, Unfit, decide
from kubepy.scheduler.evict import evict
from kubepy.scheduler.framework import Cycle, Handle, NotBound, Profile, overrides
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.preemption import TERMINATING, Candidate, plan_preemption
from kubepy.scheduler.queue import Entry, Queue
from kubepy.scheduler.snapshot import Snapshot
from kubepy.scheduler.watch import Feed

log = get_logger("scheduler")

ASSUMED_SECONDS = 120.0
BACKLOG = 128
BATCH_SECONDS = 0.005
"""How long the loop decides at a stretch before others get the processor."""


@dataclass(slots=True)
class _Binding:
    entry: Entry
    cycle: Cycle
    node: str
    began: float
    pod: Pod


class Scheduler:
    """Runs until cancelled. `snapshot` and `queue` can be read by whoever explains or measures."""

    def __init__(self, client: Client, config: Config, recorder: Recorder, clock: Clock | None = None,
                 rng: random.Random | None = None) -> None:
        self.config = config
        self.snapshot = Snapshot(hard_pod_affinity_weight=_hard_weight(config))
        self._clock = clock or SystemClock()
        self.queue = Queue(self._clock, config.profiles, config.initial_backoff, config.max_backoff)
        self.feed = Feed(self.snapshot, self.queue)
        self.client, self._recorder = client, recorder
        self._rng = rng or random.Random()
        self._bindings: asyncio.Queue[_Binding] = asyncio.Queue(BACKLOG)
        self._patches = asyncio.Semaphore(config.parallelism)
        self._tasks = Tasks("scheduler", self._clock)
        handle = Handle(client, self._clock)
        for profile in config.profiles.values():
            for plugin in profile.plugins:
                plugin.handle = handle
        self._reserving = {name: [p for p in profile.plugins if overrides(p, "reserve")] for name, profile in config.profiles.items()}
        self._binding = {name: [p for p in profile.plugins if overrides(p, "pre_bind")] for name, profile in config.profiles.items()}

    def register(self, factory: InformerFactory) -> None:
        self.feed.register(factory)

    async def run(self, factory: InformerFactory) -> None:
        """Decides and binds once the informers (which the caller has started) know the cluster."""
        await factory.wait_synced()
        log.info("Caches are synced, scheduling", nodes=len(self.snapshot), pods=len(self.snapshot.placed), pending=len(self.queue))
        tasks = self._tasks
        try:
            for number in range(self.config.parallelism):
                tasks.keep(self._bind_loop, f"bind-{number}")
            tasks.keep(self._flush_loop, "flush")
            await tasks.keep(self._decide_loop, "decide")
        finally:
            await tasks.stop()

    # --- deciding ---

    async def _decide_loop(self) -> None:
        began = self._clock.monotonic()
        while True:
            entry = await self.queue.pop()
            pod = entry.pod
            try:
                await self._try(entry)
            except Exception as error:  # a fault in one plugin, or over one pod, must not stop the others
                log.error("Scheduling failed", error, pod=pod.key)
                metric.ATTEMPTS.labels("error", pod.scheduler).inc()
                self.queue.failed(entry, ())
            if self._clock.monotonic() - began > BATCH_SECONDS:
                await asyncio.sleep(0)
                began = self._clock.monotonic()

    async def _try(self, entry: Entry) -> None:
        pod = entry.pod
        profile = self.config.profiles[pod.scheduler]
        began = self._clock.monotonic()
        decision = decide(pod, self.snapshot, profile, self._rng)
        metric.ALGORITHM_SECONDS.observe(self._clock.monotonic() - began)
        if decision.unfit is not None:
            self._refused(entry, profile, decision, began)
            return
        log.v(3).info("Decided", pod=pod.key, node=decision.node, feasible=decision.feasible, nodes=len(self.snapshot))
        self.snapshot.assume(pod, decision.node)
        job = _Binding(entry, decision.cycle, decision.node, began, pod)
        try:
            for plugin in self._reserving[profile.name]:
                plugin.reserve(job.cycle, job.node)
        except NotBound as error:
            self._unbound(job, str(error))
            return
        if any(plugin.waits(job.cycle) for plugin in self._binding[profile.name]):
            self._tasks.start(self._finish(job), "bind")
        else:
            await self._bindings.put(job)

    def _refused(self, entry: Entry, profile: Profile, decision: Decision, began: float) -> None:
        unfit = decision.unfit
        assert unfit is not None
        pod = entry.pod
        nominated: str | None = None
        if unfit.nodes and profile.preemption:
            nominated = self._preempt(pod, profile, unfit)
        message = unfit.message()
        metric.ATTEMPTS.labels("unschedulable", profile.name).inc()
        metric.ATTEMPT_SECONDS.labels("unschedulable", profile.name).observe(self._clock.monotonic() - began)
        log.v(2).info("Unable to schedule pod; no fit; waiting", pod=pod.key, err=message)
        self.queue.failed(entry, unfit.plugins or {"NodeResourcesFit", "NodeName", "NodeAffinity"})
        self._recorder.event(_about(pod), "Warning", "FailedScheduling", message)
        self._tasks.start(self._report(pod, "Unschedulable", message, nominated), "report")

    def _preempt(self, pod: Pod, profile: Profile, unfit: Unfit) -> str | None:
        """Looks for pods that could make room, and starts their eviction. Returns the node to nominate, "" to take a nomination back,
        None to leave it as it is."""
        if unfit.pre_filter:
            unfit.after = "not found"  # upstream: DynamicResources, asked first, finds that nothing was prepared for it, and that ends it
            return None
        metric.PREEMPTIONS.inc()
        outcome = plan_preemption(pod, self.snapshot, profile, unfit, self.feed.budgets(), self._rng)
        chosen = outcome.chosen
        if chosen is None:
            unfit.after = f"no new claims to deallocate, preemption: {outcome.message}"
            if pod.nominated and outcome.message != TERMINATING:
                self.snapshot.nominated.pop(pod.key, None)
                return ""
            return None
        pod.nominated = chosen.node
        self.snapshot.nominated[pod.key] = (pod, chosen.node)
        for other in outcome.lower_nominated:
            self.snapshot.nominated.pop(other.key, None)
            other.nominated = ""
            self._tasks.start(self._take_back(other), "nomination")
        self._tasks.start(self._evict(pod, chosen), "evict")
        return chosen.node

    async def _evict(self, pod: Pod, chosen: Candidate) -> None:
        try:
            await evict(self.client, self._recorder, self._clock, pod, chosen)
        except (ApiError, ConnectionError) as error:
            log.error("Preemption failed", error, pod=pod.key, node=chosen.node)
            self.queue.activate([pod.key])

    async def _take_back(self, pod: Pod) -> None:
        try:
            await self.client.patch(PODS, pod.name, {"status": {"nominatedNodeName": None}}, pod.namespace, subresource="status")
        except (ApiError, ConnectionError) as error:
            log.v(2).info("Cannot take a nomination back", pod=pod.key, err=error)

    # --- binding ---

    async def _bind_loop(self) -> None:
        while True:
            await self._finish(await self._bindings.get())

    async def _finish(self, job: _Binding) -> None:
        try:
            await self._bind(job)
        except NotBound as error:
            self._unbound(job, str(error))
        except (ApiError, ConnectionError) as error:
            self._unbound(job, f"binding rejected: {error}")
        except Exception as error:  # a fault in a plugin: the pod must not stay counted where it is not
            log.error("Binding failed", error, pod=job.pod.key)
            self._unbound(job, f"binding rejected: {error}")

    async def _bind(self, job: _Binding) -> None:
        pod = job.pod
        for plugin in self._binding[pod.scheduler]:
            await plugin.pre_bind(job.cycle, job.node)
        try:
            await self.client.create(PODS, _binding(pod, job.node), pod.namespace, name=pod.name, subresource="binding")
        except (ConnectionError, Conflict) as error:
            if not await self._is_bound(pod, job.node):
                raise NotBound(f"binding rejected: {error}") from error
        now = self._clock.monotonic()
        self.snapshot.bound(pod.key, now + ASSUMED_SECONDS)
        self.queue.done(pod.key)
        self._recorder.event(_about(pod), "Normal", "Scheduled", f"Successfully assigned {pod.key} to {job.node}")
        profile = pod.scheduler
        metric.ATTEMPTS.labels("scheduled", profile).inc()
        metric.ATTEMPT_SECONDS.labels("scheduled", profile).observe(now - job.began)
        metric.SLI_SECONDS.labels(str(min(job.entry.attempts, 15))).observe(now - job.entry.added)
        metric.POD_ATTEMPTS.observe(job.entry.attempts)

    async def _is_bound(self, pod: Pod, node: str) -> bool:
        """What became of a binding whose answer was lost; raises ConnectionError when nobody can say (it is tried again later)."""
        for _ in range(5):
            try:
                found = await self.client.get(PODS, pod.name, pod.namespace)
            except NotFound:
                return False
            except ConnectionError:
                await self._clock.sleep(1.0)
                continue
            return bool(found["metadata"].get("uid") == pod.uid and (found.get("spec") or {}).get("nodeName") == node)
        raise NotBound("binding rejected: the API server cannot be reached")

    def _unbound(self, job: _Binding, why: str) -> None:
        pod = job.pod
        log.warning("Binding failed", pod=pod.key, node=job.node, err=why)
        metric.ATTEMPTS.labels("error", pod.scheduler).inc()
        for plugin in self._reserving[pod.scheduler]:
            plugin.unreserve(job.cycle, job.node)
        known = self.snapshot.assumed.get(pod.key)
        if known is not None and known.pod is pod:
            self.snapshot.unassume(pod)
        else:  # the informer has seen it bound or gone meanwhile
            return
        self.queue.failed(job.entry, ())
        self._recorder.event(_about(pod), "Warning", "FailedScheduling", why)
        self._tasks.start(self._report(pod, "SchedulerError", why), "report")

    # --- saying so ---

    async def _report(self, pod: Pod, reason: str, message: str, nominated: str | None = None) -> None:
        """The PodScheduled condition, if it says something new."""
        status = (pod.raw or {}).get("status") or {}
        old: Object = next((c for c in status.get("conditions") or () if c.get("type") == "PodScheduled"), {})
        same = (old.get("status"), old.get("reason"), old.get("message")) == ("False", reason, message)
        if same and (nominated is None or nominated == pod.nominated):
            return
        now = format_time(self._clock.now())
        moved = now if old.get("status") != "False" else old.get("lastTransitionTime") or now
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastProbeTime": None,
                             "lastTransitionTime": moved}
        generation = ((pod.raw or {}).get("metadata") or {}).get("generation")
        if generation:
            condition["observedGeneration"] = generation
        change: dict[str, Any] = {"conditions": [condition]}
        if nominated is not None:
            change["nominatedNodeName"] = nominated or None
        async with self._patches:
            try:
                await self.client.patch(PODS, pod.name, {"metadata": {"uid": pod.uid}, "status": change}, pod.namespace, type="strategic",
                                         subresource="status")
            except (NotFound, Conflict):
                return  # it is gone
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot write the pod's condition", pod=pod.key, err=error)

    async def _flush_loop(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            self.queue.flush()
            for pod in self.snapshot.expire(self._clock.monotonic()):
                log.warning("The pod was bound but never shown on its node", pod=pod.key, node=pod.node)
            for name, count in self.queue.counts().items():
                metric.PENDING.labels(name).set(count)
            for name, count in (("nodes", len(self.snapshot)), ("pods", len(self.snapshot.placed)),
                                ("assumed_pods", len(self.snapshot.assumed))):
                metric.CACHE_SIZE.labels(name).set(count)


def _binding(pod: Pod, node: str) -> Object:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "target": {"kind": "Node", "name": node}}


def _about(pod: Pod) -> Object:
    """What events refer to."""
    version = ((pod.raw or {}).get("metadata") or {}).get("resourceVersion", "")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
                                                           "resourceVersion": version}}


def _hard_weight(config: Config) -> int:
    for profile in config.profiles.values():
        for plugin in profile.plugins:
            if plugin.name == "InterPodAffinity":
                return int(plugin.args.get("hardPodAffinityWeight", 1))
    return 1
