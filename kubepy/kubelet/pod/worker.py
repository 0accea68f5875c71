"""One pod's worker: keeps the pod as its plan says, ends it gracefully, frees what it used (upstream's pod workers and SyncPod).

When to do what is its life's (`life.step`); here it is done. Everything can be done again: after a restart of the kubelet the worker
finds what runs and goes on from there.
"""
from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kubepy.api.errors import ApiError
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.kubelet import metric
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.dra.manager import ClaimError, wanted_of
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.actor import StartError
from kubepy.kubelet.pod.backoff import KeyedBackoff
from kubepy.kubelet.pod.life import Action, Asked, Broke, Done, End, Event, Interrupted, Life, Stage, Stirred, Tick, step
from kubepy.kubelet.pod.observed import RUNNING, PodView, Seen
from kubepy.kubelet.pod.plan import Kill, Plan, Start, backoff_key, plan_pod, restarted_at
from kubepy.kubelet.pod.reporter import merged
from kubepy.kubelet.pod.resizer import Resizer
from kubepy.kubelet.pod.shared import Shared
from kubepy.kubelet.pod.status import Facts, pod_status
from kubepy.kubelet.pod.wish import Holds, asks, intent
from kubepy.kubelet.volume.manager import VolumeError

log = get_logger("worker")


class Worker:
    """Started once per pod UID with `run()`; told of news with `update()`, `end()` and `wake()`."""

    def __init__(self, pod: Object, shared: Shared, tasks: Tasks, *, failed: tuple[str, str] | None = None) -> None:
        self.pod = pod
        self.uid = podspec.uid_of(pod)
        self.gone = False
        """The API no longer has the pod: nothing more is reported."""
        self._shared = shared
        self._tasks = tasks
        self._backoff = KeyedBackoff(min(10.0, shared.crash_loop_max), shared.crash_loop_max)
        self._waiting: dict[str, tuple[str, str]] = {}
        self.life = Life(ending=failed is not None, failed=failed, busy=True)  # until `run` begins
        self._news = asyncio.Event()
        self._left = False
        self._current: asyncio.Task[None] | None = None
        self._view = PodView(self.uid)
        self._holds = Holds()
        self._created = shared.clock.monotonic()
        self._adopted = bool((pod.get("status") or {}).get("containerStatuses"))
        self._fresh = not self._adopted and shared.unseen(self.uid)
        """The runtime has nothing of it yet."""
        self._noticed: Seen | None = None
        """What a look at all pods has shown last."""
        self._admitted = self._adopted
        """It has what is to be its own: CPUs, devices."""
        self._seen_running = False
        self._resizer = Resizer(shared, self.uid)

    # --- news ---

    def update(self, pod: Object) -> None:
        before, self.pod = self.pod, pod
        if pod["metadata"].get("deletionTimestamp") and not podspec.is_mirror(pod):
            self.end(grace=podspec.grace_of(pod))
        if intent(pod) != intent(before):
            self._tell(Asked())
        elif asks(pod, before):
            self._tell(Stirred())

    def wake(self) -> None:
        self._tell(Stirred())

    def notice(self, seen: Seen) -> None:
        """A look at all pods has shown this one changed: news, unless it is what was read or done here meanwhile."""
        self._noticed = seen
        if not self.life.busy:
            self._judge()

    def _judge(self) -> None:
        seen, self._noticed = self._noticed, None
        if seen is not None and self._view.differs(seen):
            self._tell(Stirred())

    def end(self, *, grace: int | None = None, failed: tuple[str, str] | None = None) -> None:
        """Ends the pod; a shorter grace period than before takes its place."""
        self._tell(End(grace, failed))

    @property
    def state(self) -> Stage:
        return self.life.stage

    @property
    def deferred(self) -> bool:
        """A resize waits for room."""
        return self._resizer.pending is not None and self._resizer.pending[1] == "Deferred"

    @property
    def view(self) -> PodView:
        return self._view

    # --- the loop ---

    async def run(self) -> None:
        """Until the pod has ended; does what its life says, one thing at a time."""
        self.life = replace(self.life, busy=False)
        self._tell(Tick())
        while self.life.stage != "finished":
            self._news.clear()
            await self._pause(None if self.life.busy else self.life.due - self._shared.clock.monotonic())
            self._tell(Tick())

    def leave(self) -> None:
        """The kubelet stops: the pod goes on without anybody who looks after it."""
        self._left = True

    def _tell(self, event: Event) -> None:
        if self._left:
            return
        self.life, action = step(self.life, event, self._shared.clock.monotonic())
        self._news.set()
        if action == "interrupt":
            if self._current is not None:
                self._current.cancel()
        elif action is not None:
            self._current = self._tasks.start(self._act(action), f"{self.uid}/{action}")

    async def _act(self, action: Action) -> None:
        """Performs one action as a task of its own, so that it can be interrupted, and tells how it went."""
        work = {"sync": self._sync, "terminate": self._terminate, "free": self._free}[action]
        began = self._shared.clock.monotonic()
        try:
            delay = await work()
        except asyncio.CancelledError:
            self._tell(Interrupted())
            return
        except (CriError, StartError, VolumeError, ClaimError, ApiError, ConnectionError, OSError, TimeoutError) as error:
            log.warning("Error syncing pod", pod=podspec.full_name(self.pod), err=error)
            self._tell(Broke())
        except Exception as error:  # a mistake of ours must not leave the pod without anybody who looks after it
            log.error("Error syncing pod", error, pod=podspec.full_name(self.pod))
            self._tell(Broke())
        else:
            kind = "sync" if self._seen_running else "create"
            metric.WORKER_SECONDS.labels(kind).observe(self._shared.clock.monotonic() - began)
            self._judge()
            self._tell(Done(delay))

    async def _pause(self, seconds: float | None) -> None:
        """Until it is time (None: however long it takes) or there are news."""
        if seconds is not None and seconds <= 0:
            return
        woken = self._tasks.start(self._news.wait(), f"{self.uid}/news")
        tasks = [woken] if seconds is None else [woken, self._tasks.start(self._shared.clock.sleep(seconds), f"{self.uid}/timer")]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    # --- running ---

    async def _sync(self) -> float:
        """One pass; returns the seconds until the next is due."""
        shared, pod = self._shared, self.pod
        if not self._admitted and shared.allocate is not None:
            refused = await shared.allocate(pod)
            if refused is not None:
                shared.events.event(pod, "Warning", *refused)
                self.end(failed=refused)
                return 0.0
        self._admitted = True
        shared.allocations.admit(pod)
        if self._fresh:
            self._fresh = False  # should that fail, the next pass looks
        else:
            await self._observe()
        status = self._report()
        if status["phase"] in ("Succeeded", "Failed"):
            self.end()
            return 0.0
        if (left := self._deadline(status)) is not None and left <= 0:
            message = "Pod was active on the node longer than the specified deadline"
            shared.events.event(pod, "Normal", "DeadlineExceeded", message)
            self.end(failed=("DeadlineExceeded", message))
            return 0.0
        shared.probes.sync(pod, self._view)
        problem = shared.network_problem()
        if problem and not podspec.host_network(pod):
            shared.events.event(pod, "Warning", "NetworkNotReady",
                                f"network is not ready: {problem}")
            return 2.0
        if shared.cgroups.slices is not None:
            await asyncio.to_thread(shared.cgroups.ensure, shared.allocations.of(pod))  # which asks systemd
        else:
            shared.cgroups.ensure(shared.allocations.of(pod))
        try:
            volumes = await shared.volumes.mount(pod)
        except VolumeError as error:
            shared.events.event(pod, "Warning", "FailedMount", str(error))
            raise
        if shared.claims is not None and wanted_of(pod):
            try:
                await shared.claims.prepare(pod)
            except ClaimError as error:
                shared.events.event(pod, "Warning", "FailedPrepareDynamicResources", f"Failed to prepare dynamic resources: {error}")
                raise
        if await self._resizer.step(pod, self._view, self._report, lambda container: self._backoff.forget(backoff_key(pod, container))):
            await self._observe()
        plan = plan_pod(pod, self._view, shared.clock.now(), self._backoff, shared.probes.probed(self._view))
        delay = await self._perform(plan, volumes)
        if plan.end:
            self.end()
            return 0.0
        if left is not None:
            delay = min(delay, left)
        return delay

    async def _perform(self, plan: Plan, volumes: Mapping[str, Path]) -> float:
        shared, pod = self._shared, self.pod
        self._waiting = {name: held for name, held in self._waiting.items() if name in {start.name for start in plan.starts}}
        for name, held in plan.waiting.items():
            if self._waiting.get(name) != held:
                self._waiting[name] = held
            shared.events.event(pod, "Warning", "BackOff", f"Back-off restarting failed container {name} in pod {podspec.describe(pod)}",
                                field_path=f"spec.{'initContainers' if podspec.is_init(pod, name) else 'containers'}{{{name}}}")
        delay = shared.sync_frequency * (1 + random.random() * 0.5)
        if shared.volumes.refreshes(pod):
            delay = min(delay, 45.0 + random.random() * 30.0)
        if plan.wake is not None:
            delay = min(delay, plan.wake + 0.05)
        if plan.end:
            return 0.0
        if plan.create_sandbox:
            for sandbox in self._view.sandboxes:
                if sandbox.ready or self._view.running():
                    await shared.actor.kill_pod(pod, self._view, None)
                    break
            if plan.attempt > 0:
                shared.events.event(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            sandbox_id = await shared.actor.create_sandbox(pod, plan.attempt)
            self._holds.new_sandbox()
            self._view = await shared.actor.observer.with_sandbox(self._view, sandbox_id)
        await asyncio.gather(*(self._kill(kill) for kill in plan.kills))
        starts = [start for start in plan.starts if self._held(start.name) <= 0]
        restarted = restarted_at(pod, self._view, self._view.sandbox) if self._view.sandbox is not None else None
        secrets = await self._pull_secrets() if starts else []
        made: list[str] = []
        for position, start in enumerate(starts):
            made += await self._start(start, volumes, secrets)
            if podspec.restarts_all(pod) and position + 1 < len(starts):
                await self._observe()
                if (current := self._view.sandbox) is not None and restarted_at(pod, self._view, current) != restarted:
                    return 0.0  # one has ended already and wants all to begin anew: the others need not start before that
        retries = [self._held(start.name) for start in plan.starts]
        if plan.create_sandbox or plan.kills or starts:
            if plan.kills or len(made) < len(starts) or self._view.sandbox is None:
                await self._observe()
            else:
                self._view = await shared.actor.observer.with_containers(self._view, self._view.sandbox.id, made)
            shared.probes.sync(pod, self._view)
            await shared.actor.prune(self._view)
            if plan.kills:
                delay = 0.05
            elif self._goes_on():
                delay = 0.0
        self._report()
        return min([delay, *(retry for retry in retries if retry > 0)])

    def _goes_on(self) -> bool:
        """What has been done was not all: the next container may start, or all have ended already."""
        shared, view = self._shared, self._view
        plan = plan_pod(self.pod, view, shared.clock.now(), self._backoff, shared.probes.probed(view))
        return plan.end or plan.create_sandbox or bool(plan.kills) or any(self._held(start.name) <= 0 for start in plan.starts)

    async def _kill(self, kill: Kill) -> None:
        grace = None
        container = podspec.find_container(self.pod, kill.name) or {}
        if kill.reason:
            grace = (container.get(f"{kill.reason}Probe") or {}).get("terminationGracePeriodSeconds")
        await self._shared.actor.kill(self.pod, kill.id, kill.name, kill.message, grace)

    def _held(self, name: str) -> float:
        return self._holds.left(name, self.pod, self._shared.clock.monotonic())

    async def _start(self, start: Start, volumes: Mapping[str, Path], secrets: list[Object]) -> list[str]:
        """Starts a container; its ID, or none: then it is noted why it could not be started and when to try again."""
        container = podspec.find_container(self.pod, start.name)
        assert container is not None
        now = self._shared.clock.now()
        if start.finished_at:
            self._backoff.advance(backoff_key(self.pod, container), start.finished_at, now)
        try:
            pod = self._shared.allocations.of(self.pod)
            container = podspec.find_container(pod, start.name) or container
            made = await self._shared.actor.start(pod, container, start.attempt, self._view, volumes, secrets)
            self._resizer.started(made, container)
        except StartError as error:
            log.info("Container not started", pod=podspec.full_name(self.pod), container=start.name, reason=error.reason,
                     err=error.message)
            kind = "init_container" if podspec.is_init(self.pod, start.name) else "container"
            metric.STARTED_ERRORS.labels(kind, error.reason).inc()
            self._waiting[start.name] = (error.reason, error.message)
            self._holds.hold(start.name, self.pod, self._shared.clock.monotonic() + error.retry, error.reason)
            return []
        metric.STARTED_CONTAINERS.labels("init_container" if podspec.is_init(self.pod, start.name) else "container").inc()
        self._waiting.pop(start.name, None)
        self._holds.let_go(start.name)
        return [made]

    async def _pull_secrets(self) -> list[Object]:
        namespace = self.pod["metadata"].get("namespace") or "default"
        names = [("Secret", entry["name"]) for entry in self.pod["spec"].get("imagePullSecrets") or () if entry.get("name")]
        try:
            found = await self._shared.objects.gather(namespace, names, self.uid)
        except (ApiError, ConnectionError) as error:
            log.warning("Cannot read pull secrets", pod=podspec.full_name(self.pod), err=error)
            return []
        missing = [name for (_, name), obj in found.items() if obj is None]
        if missing:
            self._shared.events.event(self.pod, "Warning", "FailedToRetrieveImagePullSecret",
                                      f"Unable to retrieve some image pull secrets ({', '.join(missing)}); attempting to pull the image "
                                      "may not succeed.")
        return [obj for obj in found.values() if obj is not None]

    def _deadline(self, status: Object) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None:
            return None
        return parse_time(status["startTime"]) + float(seconds) - self._shared.clock.now()

    async def _observe(self) -> None:
        self._view = await self._shared.actor.observer.observe(self.uid)

    # --- status ---

    def _report(self, *, terminating: bool = False, ended: bool = False) -> Object:
        shared, view = self._shared, self._view
        ready, started = shared.probes.ready(self.pod, view)
        facts = Facts(self._waiting, ready, started, self.life.failed if ended or not view.running() else None, terminating, ended,
                      resize=self._resizer.conditions, resources=self._resizer.actual,
                      given=shared.allocations.of(self.pod), messages=shared.actor.observer.messages(view),
                      health=shared.health(self.uid))
        known = shared.reporter.status(self.uid)
        pod = self.pod if known is None else {**self.pod, "status": merged(self.pod.get("status") or {}, known)}
        status = pod_status(pod, view, shared.clock.now(), shared.node(), facts)
        if not self._seen_running and status["phase"] == "Running":
            self._seen_running = True
            if not self._adopted:
                metric.START_SECONDS.observe(shared.clock.monotonic() - self._created)
                metric.STARTED_PODS.inc()
        if not self.gone:
            shared.reporter.set(self.pod, status)
        return status

    # --- ending ---

    async def _terminate(self) -> None:
        shared = self._shared
        shared.probes.stop_for_termination(self.uid)
        await self._observe()
        self._report(terminating=True)
        grace, failed = self.life.grace, self.life.failed
        if grace is None:
            grace = 1 if failed is not None and failed[0] == "Evicted" else podspec.grace_of(self.pod)
        await shared.actor.kill_pod(self.pod, self._view, grace)
        await self._observe()
        if any(container.state == RUNNING for container in self._view.containers):
            raise CriError("UNKNOWN", "containers are still running")
        self._report(terminating=True, ended=True)
        log.v(1).info("Pod has ended", pod=podspec.full_name(self.pod))

    async def _free(self) -> None:
        """Volumes and cgroups go; containers stay for their logs until the pod is removed."""
        shared = self._shared
        shared.probes.forget(self.uid)
        if shared.claims is not None:
            await shared.claims.unprepare(self.uid)
        await shared.volumes.unmount(self.uid)
        if not await asyncio.to_thread(shared.cgroups.remove_pod, self.uid):
            raise OSError(f"the cgroup of pod {self.uid} is not empty yet")
        shared.reporter.finished(self.uid)
