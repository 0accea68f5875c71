"""NodeResourcesBalancedAllocation: prefers nodes whose resources would be used in like proportion; says nothing about best-effort pods."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.api.types import Object
from kubepy.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores, Where, tracked
from kubepy.scheduler.label import Mask
from kubepy.scheduler.snapshot import Node


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self._resources = [r["name"] for r in self.args.get("resources") or ({"name": "cpu"}, {"name": "memory"})]

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        snapshot, pod = cycle.snapshot, cycle.pod
        if not any(pod.requests.get(resource) for resource in self._resources):
            return None
        rows = [(snapshot.row(r), pod.requests.get(r, 0)) for r in self._resources if r in ("cpu", "memory") or pod.requests.get(r)]

        def compute(where: Where) -> Scores:
            capacities = np.array([snapshot.allocatable[row][where] for row, _ in rows])
            used = np.array([snapshot.used[row][where] + wanted for row, wanted in rows])
            there = capacities > 0
            fractions = np.where(there, np.minimum(used / np.maximum(capacities, 1), 1.0), 0.0)
            count = np.maximum(there.sum(axis=0), 1)
            mean = fractions.sum(axis=0) / count
            spread = np.sqrt((np.where(there, fractions - mean, 0.0) ** 2).sum(axis=0) / count)
            found: Scores = np.floor((1 - spread) * MAX_SCORE + 1e-9)
            return found

        return tracked(cycle, self.name, compute)

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        wanted = cycle.pod.requests
        if not any(wanted.get(resource) for resource in self._resources):
            return None
        fractions = []
        for resource in self._resources:
            capacity = node.allocatable.get(resource, 0)
            if not capacity or (resource not in ("cpu", "memory") and not wanted.get(resource)):
                continue
            used = sum(pod.requests.get(resource, 0) for pod in node.pods.values()) + wanted.get(resource, 0)
            fractions.append(min(used / capacity, 1.0))
        if not fractions:
            return MAX_SCORE
        mean = sum(fractions) / len(fractions)
        spread = (sum((fraction - mean) ** 2 for fraction in fractions) / len(fractions)) ** 0.5
        return int((1 - spread) * MAX_SCORE + 1e-9)
