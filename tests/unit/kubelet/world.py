"""A kubelet with a fake runtime, an API in memory and a virtual clock."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from kubepy.api.resource import EVENTS, PODS
from kubepy.base.clock import VirtualClock, settle
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri.fake import FakeRuntime
from tests.unit.kubelet.test_plan import container


@dataclass
class World:
    clock: VirtualClock
    client: MemoryClient
    runtime: FakeRuntime
    kubelet: Kubelet

    async def create(self, name: str, *containers: dict[str, Any], **spec: Any) -> None:
        filled = [{"imagePullPolicy": "IfNotPresent", **entry} for entry in containers or (container(),)]
        await self.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {
            "nodeName": "n1", "hostNetwork": True, "containers": filled, **spec}})
        await self.passes(0.1)

    async def restart(self) -> None:
        """Another kubelet on the same machine."""
        old = self.kubelet
        await old.stop()
        self.kubelet = Kubelet(old.settings, self.client, self.runtime, self.clock)
        self.kubelet.cgroups.root, self.kubelet.cgroups.v2 = old.cgroups.root, True
        await self.kubelet.start()

    async def passes(self, seconds: float) -> None:
        """Time in small steps, with everything settled in between."""
        steps = max(1, int(seconds / 0.5))
        for _ in range(steps):
            await self.clock.advance(seconds / steps)
            await settle(200)

    async def status(self, name: str = "p") -> dict[str, Any]:
        found = next((entry for entry in self.client.all(PODS) if entry["metadata"]["name"] == name), {})
        return found.get("status") or {}

    async def entry(self, name: str = "p", index: int = 0) -> dict[str, Any]:
        return ((await self.status(name)).get("containerStatuses") or [{}])[index]

    async def until(self, what: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> float:
        """Lets time pass until something is so; how long that took."""
        began = self.clock.now()
        while not await what():
            assert self.clock.now() - began < seconds, "it did not come about in time"
            await self.passes(0.5)
        return self.clock.now() - began

    def reasons(self) -> list[str]:
        return [entry["reason"] for entry in self.client.all(EVENTS) if entry["involvedObject"]["kind"] == "Pod"]
