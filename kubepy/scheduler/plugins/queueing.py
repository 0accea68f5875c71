"""PrioritySort and SchedulingGates: whose turn it is, and who may not queue yet."""
from __future__ import annotations

from typing import Any

from kubepy.scheduler.framework import Plugin, Wake
from kubepy.scheduler.pod import Pod


class PrioritySort(Plugin):
    """Higher priority first, then whoever has waited longer."""

    name = "PrioritySort"

    def sort_key(self, pod: Pod, queued: float) -> tuple[Any, ...] | None:
        return (-pod.priority, queued)


class SchedulingGates(Plugin):
    name = "SchedulingGates"
    wakes = (Wake("Pod", frozenset({"gates"})),)

    def pre_enqueue(self, pod: Pod) -> str | None:
        return f"waiting for scheduling gates: [{' '.join(pod.gates)}]" if pod.gates else None
