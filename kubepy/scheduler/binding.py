"""The binding cycle: what happens to a pod after its node was chosen. Bindings go out concurrently from a few workers; a pod that has to
wait first (for a Permit plugin, its volumes or its devices) gets a task of its own, so that it holds up nobody."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from kubepy.api.errors import ApiError
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import ActionRecorder
from kubepy.scheduler import metric
from kubepy.scheduler.extender import Extender
from kubepy.scheduler.failure import ERROR, UNSCHEDULABLE, Reporter, about
from kubepy.scheduler.framework import Cycle, Event, NotBound, Plugin, Profile, Rejected
from kubepy.scheduler.permit import WaitingPods
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.queue import Entry, Queue
from kubepy.scheduler.snapshot import Snapshot

log = get_logger("binding")

ASSUMED_SECONDS = 120.0
"""How long a bound pod counts on its node although the API does not show it there."""
BACKLOG = 128
T = TypeVar("T")


@dataclass(slots=True)
class Binding:
    entry: Entry
    cycle: Cycle
    node: str
    began: float
    pod: Pod
    profile: Profile
    nominated: bool = False
    """The chosen node is written to the pod's status before it is bound."""


class Binder:
    def __init__(self, snapshot: Snapshot, queue: Queue, waiting: WaitingPods, recorder: ActionRecorder, reporter: Reporter, clock: Clock,
                 tasks: Tasks, extenders: Sequence[Extender] = ()) -> None:
        self._snapshot, self._queue, self._waiting = snapshot, queue, waiting
        self._recorder, self._reporter, self._clock, self._tasks = recorder, reporter, clock, tasks
        self._extenders = extenders
        self._jobs: asyncio.Queue[Binding] = asyncio.Queue(BACKLOG)

    async def work(self) -> None:
        """One worker; run as many as there may be bindings at a time."""
        while True:
            await self._finish(await self._jobs.get())

    async def start(self, job: Binding) -> None:
        """Reserves and asks for permission (at once), then hands the pod over; waits only while too many bindings are under way."""
        self._snapshot.assume(job.pod, job.node)
        current = ""
        try:
            began = perf_counter()
            for plugin in job.profile.points["reserve"]:
                current = plugin.name
                plugin.reserve(job.cycle, job.node)
            self._timed(job, "Reserve", began)
            began = perf_counter()
            held: dict[str, float] = {}
            for plugin in job.profile.points["permit"]:
                current = plugin.name
                if (seconds := plugin.permit(job.cycle, job.node)) is not None:
                    held[plugin.name] = seconds
            if job.profile.points["permit"]:
                self._timed(job, "Permit", began, "Wait" if held else "Success")
        except Rejected as error:
            self._rejected(job, str(error.args[0]), current)
            return
        except NotBound as error:
            self._failed(job, str(error))
            return
        except Exception as error:  # a fault in a plugin: the pod must not stay counted where it is not
            log.error("Plugin failed", error, pod=job.pod.key, plugin=current)
            self._failed(job, f'running plugin "{current}": {error}')
            return
        if held:
            self._waiting.hold(job.pod, job.node, held)
        if held or any(plugin.waits(job.cycle) for plugin in job.profile.points["preBind"]):
            job.nominated = True  # others (autoscalers) should know meanwhile
            self._tasks.start(self._finish(job), "bind")
        else:
            await self._jobs.put(job)

    async def _finish(self, job: Binding) -> None:
        try:
            metric.GOROUTINES.labels("binding").inc()
            await self._bind(job)
        except Rejected as error:
            self._rejected(job, str(error.args[0]), str(error.args[1]) if len(error.args) > 1 else "")
        except NotBound as error:
            self._failed(job, str(error))
        except Exception as error:  # a fault in a plugin: the pod must not stay counted where it is not
            log.error("Binding failed", error, pod=job.pod.key)
            self._failed(job, str(error))
        finally:
            metric.GOROUTINES.labels("binding").dec()

    async def _bind(self, job: Binding) -> None:
        pod, points = job.pod, job.profile.points
        if job.nominated:
            await self._reporter.nominate(pod, job.node)
        await self._waiting.wait(pod)
        began = perf_counter()
        for plugin in points["preBind"]:
            await _wrapped("PreBind", plugin, plugin.pre_bind(job.cycle, job.node))
        self._timed(job, "PreBind", began)
        began = perf_counter()
        extender = next((e for e in self._extenders if e.binds and e.is_interested(pod)), None)
        if extender is not None:
            await extender.bind(pod, job.node)
        else:
            for plugin in points["bind"]:
                if await _wrapped("Bind", plugin, plugin.bind(job.cycle, job.node)):
                    break
            else:
                raise NotBound("no binder has bound the pod")
        self._timed(job, "Bind", began)
        now = self._clock.monotonic()
        self._snapshot.bound(pod.key, now + ASSUMED_SECONDS)
        self._queue.done(pod.key)
        self._recorder.event(about(pod), "Normal", "Scheduled", f"Successfully assigned {pod.key} to {job.node}", action="Binding",
                             component=pod.scheduler)
        metric.ATTEMPTS.labels("scheduled", job.profile.name).inc()
        metric.ATTEMPT_SECONDS.labels("scheduled", job.profile.name).observe(now - job.began)
        metric.SLI_SECONDS.labels(str(min(job.entry.attempts, 15))).observe(now - job.entry.added)
        metric.POD_ATTEMPTS.observe(job.entry.attempts)
        for plugin in points["postBind"]:
            try:
                await plugin.post_bind(job.cycle, job.node)
            except Exception as error:  # the pod is bound: nothing that follows can undo that
                log.error("PostBind failed", error, pod=pod.key, plugin=plugin.name)

    def _timed(self, job: Binding, point: str, began: float, status: str = "Success") -> None:
        if job.cycle.timing is not None:
            job.cycle.timing.point(point, perf_counter() - began, status)

    def _rejected(self, job: Binding, why: str, plugin: str) -> None:
        """A plugin refused: the pod waits for what may change that plugin's mind."""
        log.v(2).info("Rejected", pod=job.pod.key, node=job.node, plugin=plugin, err=why)
        metric.ATTEMPTS.labels("unschedulable", job.profile.name).inc()
        if self._undone(job):
            self._queue.failed(job.entry, [plugin] if plugin else ())
            self._queue.happened(Event("AssignedPod", "delete", job.pod, None), but=job.pod.key)
            self._reporter.failed(job.pod, UNSCHEDULABLE, f"0/1 nodes are available: 1 {why}.", "" if job.nominated else None)

    def _failed(self, job: Binding, why: str) -> None:
        log.warning("Binding failed", pod=job.pod.key, node=job.node, err=why)
        metric.ATTEMPTS.labels("error", job.profile.name).inc()
        if self._undone(job):
            self._queue.failed(job.entry, ())
            self._queue.happened(Event("AssignedPod", "delete", job.pod, None), but=job.pod.key)
            self._reporter.failed(job.pod, ERROR, why, "" if job.nominated else None)

    def _undone(self, job: Binding) -> bool:
        """Takes everything back; False when the informer has seen the pod bound or gone meanwhile."""
        for plugin in reversed(job.profile.points["reserve"]):
            plugin.unreserve(job.cycle, job.node)
        known = self._snapshot.assumed.get(job.pod.key)
        if known is None or known.pod is not job.pod:
            return False
        self._snapshot.unassume(job.pod)
        return True


async def _wrapped(point: str, plugin: Plugin, work: Awaitable[T]) -> T:
    """Runs one plugin; its error is told with its name."""
    try:
        return await work
    except Rejected as error:
        raise Rejected(str(error.args[0]), plugin.name) from error
    except (NotBound, ApiError, ConnectionError) as error:
        raise NotBound(f'running {point} plugin "{plugin.name}": {error}') from error
