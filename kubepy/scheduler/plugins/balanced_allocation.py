"""NodeResourcesBalancedAllocation: prefers nodes on which the pod brings the use of resources into like proportion.

Balance without the pod and with it are each worth 50 to 100; no change is 75, better balance more, worse less (as from v1.36 on).
Says nothing about best-effort pods.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.api.types import Object
from kubepy.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores, Where, tracked
from kubepy.scheduler.label import Mask
from kubepy.scheduler.snapshot import Node

HALF = MAX_SCORE // 2


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
            there = capacities > 0
            count = np.maximum(there.sum(axis=0), 1)

            def balance(extra: Sequence[int]) -> Scores:
                used = np.array([snapshot.used[row][where] + more for (row, _), more in zip(rows, extra, strict=True)])
                fractions = np.where(there, np.minimum(used / np.maximum(capacities, 1), 1.0), 0.0)
                mean = fractions.sum(axis=0) / count
                spread = np.sqrt((np.where(there, fractions - mean, 0.0) ** 2).sum(axis=0) / count)
                found: Scores = np.floor((1 - spread) * MAX_SCORE + 1e-9)
                return found

            found: Scores = HALF + (HALF + balance([wanted for _, wanted in rows]) - balance([0] * len(rows))) // 2
            return found

        return tracked(cycle, self.name, compute)

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        wanted = cycle.pod.requests
        if not any(wanted.get(resource) for resource in self._resources):
            return None
        before, after = [], []
        for resource in self._resources:
            capacity = node.allocatable.get(resource, 0)
            if not capacity or (resource not in ("cpu", "memory") and not wanted.get(resource)):
                continue
            used = sum(pod.requests.get(resource, 0) for pod in node.pods.values())
            before.append(min(used / capacity, 1.0))
            after.append(min((used + wanted.get(resource, 0)) / capacity, 1.0))
        return HALF + (HALF + _balance(after) - _balance(before)) // 2


def _balance(fractions: Sequence[float]) -> int:
    if not fractions:
        return MAX_SCORE
    mean = sum(fractions) / len(fractions)
    spread = (sum((fraction - mean) ** 2 for fraction in fractions) / len(fractions)) ** 0.5
    return int((1 - spread) * MAX_SCORE + 1e-9)
