"""Controllers run on a memory API and a virtual clock: `async with Rig(build) as rig`."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from kubepy.api.resource import EVENTS, PODS
from kubepy.api.types import Object
from kubepy.base.clock import VirtualClock, format_time, settle
from kubepy.base.task import Tasks
from kubepy.client.controller import Controller, Runtime
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.option import Options


class Rig:
    def __init__(self, *builds: Callable[[Environment], Controller | None], options: Options | None = None,
                 client: MemoryClient | None = None) -> None:
        self.clock = VirtualClock()
        self.client = client or MemoryClient()
        self.client._clock = self.clock
        self._builds, self._options = builds, options or Options()
        self.passes: Counter[tuple[str, str]] = Counter()
        """How often each controller has looked at each key."""
        self._build()

    def _build(self) -> None:
        self.tasks = Tasks("test", self.clock)
        self.informers = InformerFactory(self.client, clock=self.clock, fresh=True)
        self.env = Environment(lambda account: self.client, self.informers, self.tasks, self._options, self.clock)
        self.runtimes = [Runtime(self._counted(controller), self.informers, self.clock)
                         for build in self._builds if (controller := build(self.env))]

    def _counted(self, controller: Controller) -> Controller:
        async def reconcile(key: str) -> float | None:
            self.passes[controller.name, key] += 1
            return await controller.reconcile(key)

        return replace(controller, reconcile=reconcile)

    async def restart(self) -> None:
        """The process dies and another one starts, with nothing in its memory."""
        await self.tasks.stop()
        self._build()
        self._start()

    def _start(self) -> None:
        for runtime in self.runtimes:
            self.tasks.start(runtime.run(), runtime.controller.name)
        self.informers.start(self.tasks)

    async def __aenter__(self) -> Rig:
        self._start()
        await self.settle()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.tasks.stop()

    async def settle(self, seconds: float = 0.0) -> None:
        """Lets everything react, then time pass."""
        for _ in range(20):
            await settle(20)
            await self.clock.advance(0.05)
        if seconds:
            await self.clock.advance(seconds)
            await settle(50)

    def events(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["message"]) for event in self.client.all(EVENTS)]

    def now(self) -> str:
        return format_time(self.clock.now())

    async def set_ready(self, pod: Object, ready: bool = True, phase: str = "Running") -> None:
        """Plays the kubelet."""
        status, started = "True" if ready else "False", pod["status"].get("startTime") or self.now()
        await self.client.patch(PODS, pod["metadata"]["name"], {"status": {
            "phase": phase, "startTime": started,
            "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": self.now()}]}},
            pod["metadata"]["namespace"], subresource="status")

    async def run_pods(self) -> None:
        """Every pod that is not yet running becomes so; terminating ones go away."""
        for pod in self.client.all(PODS):
            metadata = pod["metadata"]
            if metadata.get("deletionTimestamp"):
                await self.client.delete(PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0)
            elif pod["status"].get("phase") == "Pending":
                await self.set_ready(pod)


def workload(kind: str, name: str = "web", *, api: str = "apps/v1", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """An object of a workload kind with a one-container template."""
    labels = labels or {"app": name}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a"}]}}, **spec}}
