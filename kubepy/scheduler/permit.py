"""Pods that a Permit plugin holds back after their node was chosen: they stay counted there until every plugin that holds them allows it,
one rejects them, or their time is up (`runtime/waiting_pods_map.go`)."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from kubepy.base.clock import Clock
from kubepy.base.flag import shown_duration
from kubepy.scheduler import metric
from kubepy.scheduler.framework import Rejected
from kubepy.scheduler.pod import Pod

MAX_SECONDS = 15 * 60.0


@dataclass(slots=True, eq=False)
class _Held:
    pod: Pod
    node: str
    ends: dict[str, float]
    """Plugin -> monotonic seconds when it gives up."""
    seconds: dict[str, float]
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    plugin: str = ""
    """Who rejected it."""
    message: str = ""


class WaitingPods:
    """By UID."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}

    def pods(self) -> Iterable[Pod]:
        return [held.pod for held in self._held.values()]

    def node_of(self, uid: str) -> str:
        """The node a waiting pod is meant for, or ""."""
        held = self._held.get(uid)
        return held.node if held is not None else ""

    def hold(self, pod: Pod, node: str, seconds: dict[str, float]) -> None:
        """Holds a pod back for each plugin (name -> seconds)."""
        now = self._clock.monotonic()
        seconds = {plugin: min(value, MAX_SECONDS) for plugin, value in seconds.items()}
        self._held[pod.uid] = _Held(pod, node, {plugin: now + value for plugin, value in seconds.items()}, seconds)

    def allow(self, uid: str, plugin: str) -> None:
        """One plugin lets the pod go; nothing happens if it does not hold it."""
        held = self._held.get(uid)
        if held is not None and held.ends.pop(plugin, None) is not None and not held.ends:
            held.decided.set()

    def reject(self, uid: str, plugin: str, message: str) -> bool:
        """Turns the pod away; says whether it was waiting."""
        held = self._held.get(uid)
        if held is None or held.decided.is_set():
            return False
        held.plugin, held.message = plugin, message
        held.decided.set()
        return True

    async def wait(self, pod: Pod) -> None:
        """Waits if the pod is held back; raises Rejected, with the plugin's name as its second argument."""
        held = self._held.get(pod.uid)
        if held is None:
            return
        began = self._clock.monotonic()
        try:
            while not held.decided.is_set():
                plugin, ends = min(held.ends.items(), key=lambda item: item[1])
                left = ends - self._clock.monotonic()
                if left <= 0:
                    waited = shown_duration(held.seconds[plugin])
                    self.reject(pod.uid, plugin, f"rejected due to timeout after waiting {waited} at plugin {plugin}")
                    break
                await self._first(held.decided, left)
        finally:
            self._held.pop(pod.uid, None)
        result = "Unschedulable" if held.plugin else "Success"
        metric.PERMIT_SECONDS.labels(result).observe(self._clock.monotonic() - began)
        if held.plugin:
            raise Rejected(held.message, held.plugin)

    async def _first(self, decided: asyncio.Event, seconds: float) -> None:
        """Until the pod is decided upon or the seconds are over, by the clock given."""
        waits = [asyncio.ensure_future(decided.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

