"""NodeName: a pod that names its node goes there (such pods never reach the scheduler; what-if questions do)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.scheduler.framework import Cycle, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.snapshot import Node

REASON = "node(s) didn't match the requested node name"


class NodeName(Plugin):
    name = "NodeName"
    wakes = (Wake("Node", frozenset({"add"})),)

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        wanted = _wanted(cycle)
        if not wanted:
            return ()
        refused = np.ones(cycle.snapshot.capacity, np.bool_)
        if (node := cycle.snapshot.nodes.get(wanted)) is not None:
            refused[node.slot] = False
        return (Refusal(refused, REASON, False),)

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        wanted = _wanted(cycle)
        return (Reason(REASON, False),) if wanted and wanted != node.name else ()


def _wanted(cycle: Cycle) -> str:
    return str(((cycle.pod.raw or {}).get("spec") or {}).get("nodeName") or "")
