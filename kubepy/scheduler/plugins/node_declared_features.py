"""NodeDeclaredFeatures: a pod that needs what only newer nodes can do goes to a node that declares it (`status.declaredFeatures`)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.api.types import Object
from kubepy.scheduler.framework import Cycle, Event, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node


class NodeDeclaredFeatures(Plugin):
    name = "NodeDeclaredFeatures"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("Node", frozenset({"add", "features"}), _declares),)

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        if not cycle.template.features:
            return ()
        refused: dict[str, Mask] = {}
        for node in cycle.snapshot.nodes.values():
            if missing := _missing(cycle.template.features, node):
                refused.setdefault(missing, np.zeros(cycle.snapshot.capacity, np.bool_))[node.slot] = True
        return [Refusal(mask, _reason(missing), False) for missing, mask in refused.items()]

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        missing = _missing(cycle.template.features, node)
        return (Reason(_reason(missing), False),) if missing else ()


def _missing(wanted: tuple[str, ...], node: Node) -> str:
    return ", ".join(feature for feature in wanted if feature not in node.features)


def _reason(missing: str) -> str:
    return f"node declared features check failed - unsatisfied requirements: {missing}"


def _declares(pod: Pod, event: Event) -> bool:
    return not isinstance(event.new, Node) or not _missing(pod.template.features, event.new)
