"""What all pod workers of a kubelet use."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.events import Recorder
from kubepy.kubelet.cgroup.tree import Cgroups
from kubepy.kubelet.dra.manager import Claims
from kubepy.kubelet.pod.actor import Actor
from kubepy.kubelet.pod.allocation import Allocations
from kubepy.kubelet.pod.reporter import Reporter
from kubepy.kubelet.pod.status import Node
from kubepy.kubelet.probe.manager import Probes
from kubepy.kubelet.volume.manager import Volumes
from kubepy.kubelet.volume.objects import Objects


@dataclass(slots=True)
class Shared:
    """One for each kubelet."""

    actor: Actor
    allocations: Allocations
    reporter: Reporter
    probes: Probes
    volumes: Volumes
    cgroups: Cgroups
    objects: Objects
    events: Recorder
    clock: Clock
    node: Callable[[], Node]
    network_problem: Callable[[], str]
    """Why pods cannot have a network, "" when they can."""
    others: Callable[[str], list[Object]] = lambda uid: []
    """The node's other pods that run."""
    allocatable: Callable[[], Mapping[str, int]] = dict
    sync_frequency: float = 60.0
    crash_loop_max: float = 300.0
    allocate: Callable[[Object], Awaitable[tuple[str, str] | None]] | None = None
    """Gives an admitted pod what it gets of its own; (reason, message) when it cannot be had."""
    claims: Claims | None = None
    has_cpus: Callable[[str], bool] = lambda uid: False
    """Whether the pod has CPUs of its own; and memory."""
    has_memory: Callable[[str], bool] = lambda uid: False
    health: Callable[[str], Mapping[str, list[Object]]] = lambda uid: {}
    """By container the health of the devices it has, of a pod."""
    resized: Callable[[], None] = lambda: None
    """Called when a pod was resized: others may have waited for that."""
    unseen: Callable[[str], bool] = lambda uid: False
    """Whether the runtime is known to have nothing of the pod."""
