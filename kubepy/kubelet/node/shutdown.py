"""Graceful node shutdown: when the machine goes down, its pods end first, by priority, each class in its own time.

As upstream it holds a delay lock of systemd's login manager and acts on its PrepareForShutdown signal; new pods are refused and the node
is not ready from then on, until it hears that the machine stays up after all. Where logind would wait less long than pods are promised,
its InhibitDelayMaxSec is raised. All this goes through `systemd-inhibit` and `busctl`; a machine without them has no graceful shutdown,
which is logged once.
"""
from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.manager import Pods
from kubepy.kubelet.settings import Settings

log = get_logger("shutdown")
CONFIGURATION = Path("/etc/systemd/logind.conf.d/99-kubelet.conf")
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
        await self._allow(sum(item.seconds for item in self._classes))
        watch = await asyncio.create_subprocess_exec(
            "busctl", "--system", "--match=type='signal',interface='org.freedesktop.login1.Manager',member='PrepareForShutdown'", "monitor",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        lock = await _lock()
        try:
            assert watch.stdout is not None
            while line := await watch.stdout.readline():
                if b"BOOLEAN true" in line and not self.active:
                    await self.begin()
                    await _end(lock)
                elif b"BOOLEAN false" in line and self.active:
                    log.warning("The machine does not go down after all")
                    self.active = False
                    self._report()
                    lock = await _lock()
            raise OSError("the login manager's signals cannot be heard")
        finally:
            await _end(lock)
            await _end(watch)

    async def _allow(self, seconds: float) -> None:
        """Has the login manager wait for as long as the pods are promised (upstream's file for that)."""
        if await _delay() >= seconds:
            return
        try:
            await asyncio.to_thread(_configure, f"# Written by the kubelet\n[Login]\nInhibitDelayMaxSec={math.ceil(seconds)}\n")
        except OSError as error:
            log.error("The login manager cannot be configured", error)
        await _busctl("call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                      "KillUnit", "ssi", "systemd-logind.service", "all", "1")
        for _ in range(50):
            if (allowed := await _delay()) >= seconds:
                return
            await self._clock.sleep(0.1)
        log.error("The login manager waits less long than pods are promised", allowed=allowed, promised=seconds)

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


def _configure(text: str) -> None:
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(text)


async def _lock() -> asyncio.subprocess.Process:
    """Holds the machine's end up until its input ends: also when this process is killed, it does not hold it up for ever."""
    return await asyncio.create_subprocess_exec(
        "systemd-inhibit", "--what=shutdown", "--mode=delay", "--who=kubelet", "--why=Kubelet needs time to handle node shutdown", "cat",
        stdin=asyncio.subprocess.PIPE)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


async def _delay() -> float:
    """Seconds for which the login manager lets locks delay the machine's end; 0 where it does not say."""
    words = (await _busctl("get-property", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
                           "InhibitDelayMaxUSec")).split()
    return int(words[1]) / 1e6 if len(words) == 2 else 0.0


async def _busctl(*words: str) -> bytes:
    process = await asyncio.create_subprocess_exec("busctl", "--system", *words, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0]
