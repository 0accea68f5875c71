"""NodeResourcesFit: refuses nodes without room for the pod's requests; scores them by LeastAllocated, MostAllocated or
RequestedToCapacityRatio (`scoringStrategy` in its args).

Extended resources that a DeviceClass stands for are DynamicResources' to find on nodes that do not offer them themselves."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubepy.api.types import Object
from kubepy.scheduler.framework import MAX_SCORE, TOO_MANY, Cycle, Event, Lens, Plugin, Reason, Refusal, Scores, Wake, Where, tracked
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import CPU, MEMORY, PODS, Node

PLENTY = 1 << 60
DEFAULT_RESOURCES: tuple[Object, ...] = ({"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1})


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        strategy = self.args.get("scoringStrategy") or {}
        self._type = strategy.get("type") or "LeastAllocated"
        self._resources = [(r["name"], int(r.get("weight") or 1)) for r in strategy.get("resources") or DEFAULT_RESOURCES]
        shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
        self._shape = ([float(p["utilization"]) for p in shape], [float(p["score"]) * MAX_SCORE / 10 for p in shape])
        self._ignored = frozenset(self.args.get("ignoredResources") or ())
        self._ignored_groups = frozenset(self.args.get("ignoredResourceGroups") or ())
        self.wakes = (Wake("AssignedPod", frozenset({"delete", "resize"}), _frees), Wake("Node", frozenset({"add", "allocatable"}), _grows),
                      Wake("Pod", frozenset({"resize"})), Wake("DeviceClass", frozenset({"add", "update"}), _stands))

    def _looked_at(self, resource: str) -> bool:
        group = resource.partition("/")[0] if "/" in resource else ""
        return resource not in self._ignored and (not group or group not in self._ignored_groups)

    def lens(self, cycle: Cycle) -> Lens:
        return _Room(cycle, [resource for resource, value in cycle.pod.requests.items() if value and self._looked_at(resource)],
                     cycle.snapshot.devices.delegated(cycle.pod.requests))

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        snapshot = cycle.snapshot
        wanted = [(r, v, snapshot.row(r)) for r, v in cycle.pod.requests.items() if v and self._looked_at(r)]
        delegated = snapshot.devices.delegated(cycle.pod.requests)

        def compute(where: Where) -> NDArray[np.bool_]:
            """Two rows a resource: short of it for now, and too small for ever; the first row: no place for another pod."""
            rows = [snapshot.used[PODS][where] + 1 > snapshot.allocatable[PODS][where]]
            for resource, value, row in wanted:
                allocatable = snapshot.allocatable[row][where]
                ours = allocatable > 0 if resource in delegated else True
                never = (value > allocatable) & ours  # no pod's departure makes room for more than the node has
                rows += [(snapshot.used[row][where] + value > allocatable) & ~never & ours, never]
            return np.array(rows)

        found = tracked(cycle, "/".join((self.name, *sorted(delegated))), compute)
        if not found.any():
            return ()
        reasons = [(TOO_MANY, True)] + [(f"Insufficient {r}", helps) for r, _, _ in wanted for helps in (True, False)]
        return [Refusal(row, text, helps) for row, (text, helps) in zip(found, reasons, strict=True) if row.any()]

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        reasons: list[Reason] = []
        delegated = cycle.snapshot.devices.delegated(cycle.pod.requests)
        used: dict[str, int] = {}
        for pod in node.pods.values():
            for resource, value in pod.requests.items():
                used[resource] = used.get(resource, 0) + value
        if len(node.pods) + 1 > node.allocatable.get("pods", 0):
            reasons.append(Reason(TOO_MANY))
        for resource, wanted in cycle.pod.requests.items():
            room = node.allocatable.get(resource, 0)
            if not room and resource in delegated:
                continue
            if wanted and self._looked_at(resource) and wanted > room - used.get(resource, 0):
                reasons.append(Reason(f"Insufficient {resource}", wanted <= room))
        return reasons

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        snapshot, pod = cycle.snapshot, cycle.pod
        rows = {r: snapshot.row(r) for r, _ in self._resources if r not in ("cpu", "memory") and pod.requests.get(r)}

        def compute(where: Where) -> Scores:
            total: Scores = np.zeros(snapshot.capacity)[where]
            weights: Scores = np.zeros(snapshot.capacity)[where]
            for resource, weight in self._resources:
                if resource in ("cpu", "memory"):
                    index, row = (0, CPU) if resource == "cpu" else (1, MEMORY)
                    wanted = snapshot.nonzero[index][where] + pod.nonzero[index]
                elif resource in rows:
                    row = rows[resource]
                    wanted = snapshot.used[row][where] + pod.requests[resource]
                else:
                    continue
                capacity = snapshot.allocatable[row][where]
                there = capacity > 0
                total += np.where(there, self._rate(wanted, np.maximum(capacity, 1)) * weight, 0)
                weights += np.where(there, weight, 0)
            found: Scores = np.floor(total / np.maximum(weights, 1))
            return found

        return tracked(cycle, self.name + "/score", compute)

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        total = weights = 0
        for resource, weight in self._resources:
            index = {"cpu": 0, "memory": 1}.get(resource)
            if index is not None:
                wanted = sum(pod.nonzero[index] for pod in node.pods.values()) + cycle.pod.nonzero[index]
            elif cycle.pod.requests.get(resource):
                wanted = sum(pod.requests.get(resource, 0) for pod in node.pods.values()) + cycle.pod.requests[resource]
            else:
                continue
            capacity = node.allocatable.get(resource, 0)
            if capacity:
                total += weight * int(self._rate(np.array([wanted]), np.array([capacity]))[0])
                weights += weight
        return total // weights if weights else 0

    def _rate(self, wanted: NDArray[np.int64], capacity: NDArray[np.int64]) -> Scores:
        if self._type == "RequestedToCapacityRatio":
            used = np.where(wanted > capacity, 100.0, wanted * 100 // capacity)
            return np.floor(np.interp(used, *self._shape))
        kept = wanted if self._type == "MostAllocated" else capacity - wanted
        rate: Scores = np.where(wanted > capacity, 0, kept * MAX_SCORE // capacity).astype(np.float64)
        return rate


class _Room:
    """What would be left of each resource on a node with the pod there."""

    def __init__(self, cycle: Cycle, resources: Sequence[str], delegated: frozenset[str]) -> None:
        snapshot, pod = cycle.snapshot, cycle.pod
        self._resources = resources
        self._reasons = [Reason(TOO_MANY), *(Reason(f"Insufficient {resource}") for resource in resources)]
        rows = [PODS, *(snapshot.row(resource) for resource in resources)]
        wanted = np.array([1, *(pod.requests[resource] for resource in resources)])
        self._left = (snapshot.allocatable[rows] - snapshot.used[rows] - wanted[:, None]).T
        for index, resource in enumerate(resources, 1):
            if resource in delegated:
                self._left[snapshot.allocatable[rows[index]] == 0, index] = PLENTY
        self._here: list[int] = []

    def enter(self, node: Node) -> None:
        self._here = self._left[node.slot].tolist()

    def change(self, pod: Pod, sign: int) -> None:
        here, requests = self._here, pod.requests
        here[0] -= sign
        for index, resource in enumerate(self._resources, 1):
            here[index] -= sign * requests.get(resource, 0)

    def reasons(self) -> Sequence[Reason]:
        return [reason for reason, left in zip(self._reasons, self._here, strict=True) if left < 0] if min(self._here) < 0 else ()


def _stands(pod: Pod, event: Event) -> bool:
    """A class may stand for what nodes do not offer."""
    return any("/" in resource for resource in pod.requests)


def _frees(pod: Pod, event: Event) -> bool:
    """A pod that left or shrank: it helps if it held something this one asks for (every pod holds a place)."""
    return isinstance(event.old, Pod)


def _grows(pod: Pod, event: Event) -> bool:
    """A node that could hold the pod if it were empty."""
    node = event.new
    if not isinstance(node, Node):
        return True
    return node.allocatable.get("pods", 0) > 0 and all(
        value <= room if (room := node.allocatable.get(resource, 0)) else not value or "/" in resource
        for resource, value in pod.requests.items())
