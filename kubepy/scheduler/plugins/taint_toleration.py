"""TaintToleration: refuses nodes with a NoSchedule or NoExecute taint that is not tolerated; prefers few PreferNoSchedule ones.

Nodes share few distinct taint sets: each is judged once and the verdict looked up for all nodes that have it."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.framework import MAX_SCORE, Cycle, Event, Plugin, Reason, Refusal, Scores, Wake, normalised
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node

REASON = "node(s) had untolerated taint(s)"


class TaintToleration(Plugin):
    name = "TaintToleration"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("Node", frozenset({"add", "taint"}), _tolerable), Wake("Pod", frozenset({"tolerations"})))

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        refused, _ = self._tables(cycle)
        return (Refusal(refused, REASON, False),) if refused is not None else ()

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        if scheduling.untolerated_taint(node.taints, cycle.template.tolerations) is None:
            return ()
        return (Reason(REASON, False),)

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        _, disliked = self._tables(cycle)
        if disliked is None:
            return None  # the same 100 for every node
        return normalised(disliked.astype(np.float64), feasible, reverse=True)

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        counts = [_disliked(other.taints, cycle.template.tolerations) for other in feasible]
        if not max(counts, default=0):
            return MAX_SCORE
        return MAX_SCORE - MAX_SCORE * _disliked(node.taints, cycle.template.tolerations) // max(counts)

    def _tables(self, cycle: Cycle) -> tuple[Mask | None, NDArray[np.int64] | None]:
        """The refused nodes and the number of disliked taints per node; None where there are none."""

        def make() -> tuple[Mask | None, NDArray[np.int64] | None]:
            snapshot, tolerations = cycle.snapshot, cycle.template.tolerations
            bad = np.array([scheduling.untolerated_taint(taints, tolerations) is not None for taints in snapshot.taint_sets])
            dislikes = np.array([_disliked(taints, tolerations) for taints in snapshot.taint_sets])
            refused, disliked = bad[snapshot.taint_ids], dislikes[snapshot.taint_ids]
            return (refused if refused.any() else None, disliked if disliked.any() else None)

        return cycle.kept(self.name, make)


def _disliked(taints: Sequence[Object], tolerations: Sequence[Object]) -> int:
    usable = [t for t in tolerations if t.get("effect") in (None, "", "PreferNoSchedule")]
    return sum(1 for taint in taints if taint.get("effect") == "PreferNoSchedule"
               and not any(scheduling.tolerates(toleration, taint) for toleration in usable))


def _tolerable(pod: Pod, event: Event) -> bool:
    node = event.new
    return not isinstance(node, Node) or scheduling.untolerated_taint(node.taints, pod.template.tolerations) is None
