"""NodePorts: a host port can be taken once per address and protocol."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.api import scheduling
from kubepy.scheduler.framework import Cycle, Event, Lens, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node

REASON = "node(s) didn't have free ports for the requested pod ports"


class NodePorts(Plugin):
    name = "NodePorts"

    def __init__(self, args: dict[str, object] | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("AssignedPod", frozenset({"delete"}), _frees_ports), Wake("Node", frozenset({"add"})))

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.template.ports)

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        ports = cycle.template.ports
        if not ports or not cycle.snapshot.ports:
            return ()
        refused = np.zeros(cycle.snapshot.capacity, np.bool_)
        for address, protocol, port in ports:
            for slot, taken in cycle.snapshot.ports.get((protocol, port), {}).items():
                wanted = (address, protocol, port)
                if any(scheduling.ports_conflict(wanted, (other, protocol, port)) for other in taken):
                    refused[slot] = True
        return (Refusal(refused, REASON),)

    def lens(self, cycle: Cycle) -> Lens:
        return _Ports(cycle)

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        taken = [port for pod in node.pods.values() for port in pod.template.ports]
        if any(scheduling.ports_conflict(wanted, port) for wanted in cycle.template.ports for port in taken):
            return (Reason(REASON),)
        return ()


class _Ports:
    """How often ports on the node conflict with the pod's."""

    def __init__(self, cycle: Cycle) -> None:
        self._wanted = cycle.template.ports
        self._conflicts = 0

    def enter(self, node: Node) -> None:
        self._conflicts = 0
        for pod in node.pods.values():
            self.change(pod, 1)

    def change(self, pod: Pod, sign: int) -> None:
        for taken in pod.template.ports:
            self._conflicts += sign * sum(scheduling.ports_conflict(wanted, taken) for wanted in self._wanted)

    def reasons(self) -> Sequence[Reason]:
        return (Reason(REASON),) if self._conflicts else ()


def _frees_ports(pod: Pod, event: Event) -> bool:
    gone = event.old
    return isinstance(gone, Pod) and any(scheduling.ports_conflict(one, other)
                                         for one in pod.template.ports for other in gone.template.ports)
