"""Graceful node shutdown: when the machine goes down, its pods end first, by priority, each class in its own time.

As upstream it holds a delay lock of systemd's login manager and acts on its PrepareForShutdown signal; new pods are refused and the node
is not ready from then on. The lock and the signal go through `systemd-inhibit` and `busctl`; a machine without them has no graceful
shutdown, which is logged once.
Known differences: logind's own InhibitDelayMaxSec is not raised (a warning says so when it is shorter than what the pods are promised).
"""
from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.manager import Pods
from kubepy.kubelet.settings import Settings

log = get_logger("shutdown")
CRITICAL = 2_000_000_000
PROBLEM = "node is shutting down"
REFUSAL = ("NodeShutdown", "Pod was rejected as the node is shutting down.")
REASON = ("Terminated", "Pod was terminated in response to imminent node shutdown.")


@dataclass(frozen=True, slots=True)
class Class:
    """Pods of this priority and above, up to the next class, get `seconds`."""

    priority: int
    seconds: float


def classes(settings: Settings) -> list[Class]:
    """From shutdownGracePeriodByPodPriority, or from the two simple settings; lowest priority first. Empty: not wanted."""
    if settings.shutdown_by_priority:
        found = [Class(int(entry["priority"]), float(entry["shutdownGracePeriodSeconds"])) for entry in settings.shutdown_by_priority]
        return sorted(found, key=lambda item: item.priority)
    critical = settings.shutdown_grace_period_critical_pods
    regular = settings.shutdown_grace_period - critical
    return [Class(0, regular), Class(CRITICAL, critical)] if settings.shutdown_grace_period > 0 else []


def group(pods: Sequence[Object], wanted: Sequence[Class]) -> list[tuple[Class, list[Object]]]:
    """Which pods end with which class, in the order in which the classes end. Pods below all classes go with the first."""
    groups: list[tuple[Class, list[Object]]] = [(item, []) for item in wanted]
    for pod in pods:
        priority = int(pod["spec"].get("priority") or 0)
        index = max((index for index, item in enumerate(wanted) if item.priority <= priority), default=0)
        groups[index][1].append(pod)
    return [(item, members) for item, members in groups if members]


class Shutdown:
    """`active` is true from the moment the machine says it goes down."""

    def __init__(self, settings: Settings, pods: Pods, clock: Clock, report: Callable[[], None]) -> None:
        self._classes = classes(settings)
        self._pods = pods
        self._clock = clock
        self._report = report
        """Called when it begins, so that the node's status is written at once."""
        self.active = False

    async def run(self) -> None:
        """Waits for the signal; ends at once where no grace is configured or there is no login manager."""
        if not self._classes:
            return
        if shutil.which("systemd-inhibit") is None or shutil.which("busctl") is None:
            log.error("No graceful node shutdown: this machine has no systemd login manager")
            return
        lock = await asyncio.create_subprocess_exec(
            "systemd-inhibit", "--what=shutdown", "--mode=delay", "--who=kubelet", "--why=Kubelet needs time to handle node shutdown",
            "sleep", "infinity")
        watch = await asyncio.create_subprocess_exec(
            "busctl", "--system", "--match=type='signal',interface='org.freedesktop.login1.Manager',member='PrepareForShutdown'", "monitor",
            stdout=asyncio.subprocess.PIPE)
        try:
            assert watch.stdout is not None
            while line := await watch.stdout.readline():
                if b"BOOLEAN true" in line:
                    await self.begin()
                    return
            raise OSError("the login manager's signals cannot be heard")
        finally:
            for process in (lock, watch):
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()

    async def begin(self) -> None:
        """Ends all pods, class by class; returns when they have ended or their time is over."""
        log.warning("The machine is going down; ending its pods", pods=len(self._pods.all()))
        self.active = True
        self._report()
        for item, members in group([worker.pod for worker in self._pods.workers() if worker.state == "running"], self._classes):
            workers = [worker for pod in members if (worker := self._pods.worker(podspec.uid_of(pod))) is not None]
            for worker in workers:
                worker.end(grace=min(int(item.seconds), podspec.grace_of(worker.pod)), failed=REASON)
            until = self._clock.monotonic() + item.seconds
            while self._clock.monotonic() < until and any(worker.state in ("running", "terminating") for worker in workers):
                await self._clock.sleep(0.1)
            left = [podspec.full_name(worker.pod) for worker in workers if worker.state in ("running", "terminating")]
            if left:
                log.warning("Pods have not ended in their time", priority=item.priority, seconds=item.seconds, pods=",".join(left))
