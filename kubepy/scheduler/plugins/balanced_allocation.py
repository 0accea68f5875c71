"""NodeResourcesBalancedAllocation: prefers nodes whose resources would be used in like proportion; says nothing about best-effort pods."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.api.types import Object
from kubepy.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores
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
        fractions, present = [], []
        for resource in self._resources:
            if resource not in ("cpu", "memory") and not pod.requests.get(resource):
                continue
            row = snapshot.row(resource)
            capacity = snapshot.allocatable[row]
            there = capacity > 0
            fraction = np.minimum((snapshot.used[row] + pod.requests.get(resource, 0)) / np.maximum(capacity, 1), 1.0)
            fractions.append(np.where(there, fraction, 0.0))
            present.append(there)
        values, mask = np.array(fractions), np.array(present)
        count = np.maximum(mask.sum(axis=0), 1)
        mean = values.sum(axis=0) / count
        spread = np.sqrt((np.where(mask, values - mean, 0.0) ** 2).sum(axis=0) / count)
        found: Scores = np.floor((1 - spread) * MAX_SCORE + 1e-9)
        return found

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
