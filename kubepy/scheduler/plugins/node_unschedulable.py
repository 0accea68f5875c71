"""NodeUnschedulable: a cordoned node takes only pods that tolerate `node.kubernetes.io/unschedulable`."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.framework import Cycle, Event, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node

REASON = "node(s) were unschedulable"
TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("Node", frozenset({"add", "taint"}), _is_open), Wake("Pod", frozenset({"tolerations"})))

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        if not cycle.snapshot.unschedulable.any() or _tolerated(cycle):
            return ()
        return (Refusal(cycle.snapshot.unschedulable, REASON, False),)

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        return (Reason(REASON, False),) if node.unschedulable and not _tolerated(cycle) else ()


def _tolerated(cycle: Cycle) -> bool:
    return any(scheduling.tolerates(toleration, TAINT) for toleration in cycle.template.tolerations)


def _is_open(pod: Pod, event: Event) -> bool:
    return not isinstance(event.new, Node) or not event.new.unschedulable
