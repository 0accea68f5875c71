"""What a plugin is, and what a cycle for one pod knows.

A plugin subclasses `Plugin` and overrides the extension points it takes part in. Filters and scores answer for all nodes at once
with arrays over the snapshot's slots; beside each stands the same rule for one node (`filter_node`, `score_node`), plain enough to
be believed at sight: tests compare the two, and preemption asks the plain one about nodes with some pods taken away.

    class Weekend(Plugin):
        name = "Weekend"
        def filter(self, cycle):
            return [Refusal(cycle.snapshot.column("weekend").mask(lambda value: value == "closed"), "node(s) are closed", False)]
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.interface import Client
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod, Template
from kubepy.scheduler.snapshot import Node, Snapshot

MAX_SCORE = 100
Scores = NDArray[np.float64]
Where = slice | NDArray[np.int64]
T = TypeVar("T")


class Refusal(NamedTuple):
    """Nodes a filter refuses for one reason. `resolvable`: taking pods away from the node could help (upstream's Unschedulable, as
    against UnschedulableAndUnresolvable)."""

    nodes: Mask
    reason: str
    resolvable: bool = True


class Reason(NamedTuple):
    """Why one node was refused."""

    text: str
    resolvable: bool = True


class Event(NamedTuple):
    """Something that happened in the cluster: a resource and what was done to it, with the objects before and after."""

    resource: str
    action: str
    """add, update or delete; for nodes and pods the updates are told apart: see `Wake`."""
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True)
class Wake:
    """Which events may let a pod that the plugin refused fit: `hint` (pod, event) refines it and is asked last."""

    resource: str
    actions: frozenset[str]
    hint: Callable[[Pod, Event], bool] | None = None


class Cycle:
    """One attempt to place one pod. `state` is the plugins' scratch pad, by plugin name."""

    __slots__ = ("pod", "snapshot", "state")

    def __init__(self, pod: Pod, snapshot: Snapshot) -> None:
        self.pod = pod
        self.snapshot = snapshot
        self.state: dict[str, Any] = {}

    @property
    def template(self) -> Template:
        return self.pod.template

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """A value that depends only on the pod's template and on nodes' labels, taints and cordons: made once, kept until they change."""
        template, version = self.pod.template, self.snapshot.version
        found = template.verdicts.get(name)
        if found is not None and found[0] == version:
            value: T = found[1]
            return value
        value = make()
        self.snapshot.keep(template, name, (version, value))
        return value


@dataclass(frozen=True, slots=True)
class Handle:
    """The API and the time."""

    client: Client
    clock: Clock


class Plugin:
    """Base of all plugins: every extension point, each doing nothing. `args` is the plugin's configuration (a dict)."""

    name: ClassVar[str] = ""
    wakes: Sequence[Wake] = ()
    handle: Handle | None = None
    """What a plugin needs to act; set before the first pod is tried."""

    def __init__(self, args: Object | None = None) -> None:
        self.args: Object = args or {}

    # --- the queue ---

    def pre_enqueue(self, pod: Pod) -> str | None:
        """Why the pod must not even be queued, or None."""
        return None

    def sort_key(self, pod: Pod, queued: float) -> tuple[Any, ...] | None:
        """Pods with smaller keys go first; None: this plugin does not sort."""
        return None

    # --- the cycle: pure ---

    def pre_filter(self, cycle: Cycle) -> str | None:
        """Why no node can take the pod (unresolvable), or None. What it computes for `filter` goes into `cycle.state`."""
        return None

    def node_names(self, cycle: Cycle) -> frozenset[str] | None:
        """The only nodes worth looking at; None: all of them."""
        return None

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        """The nodes refused; a node refused for several reasons is in several refusals."""
        return ()

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        """The plain rule for one node, from the snapshot as it is now."""
        return ()

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        """Normalised scores (0 to 100) over all slots, of which only the feasible ones count; None: nothing to say about this pod."""
        return None

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        """The plain rule for one node."""
        return None

    # --- what follows a decision ---

    def reserve(self, cycle: Cycle, node: str) -> None:
        """Sets aside what the pod needs on the node; raises NotBound. No I/O: nothing may change in between."""

    def unreserve(self, cycle: Cycle, node: str) -> None:
        """Takes that back: the pod will not be bound after all. Also called where nothing was reserved."""

    def waits(self, cycle: Cycle) -> bool:
        """Whether `pre_bind` may take long for this pod: then it does not hold up others."""
        return True

    async def pre_bind(self, cycle: Cycle, node: str) -> None:
        """What must be true before the pod is bound; raises `NotBound` to give up."""


def tracked(cycle: Cycle, name: str, compute: Callable[[Where], NDArray[Any]]) -> NDArray[Any]:
    """An array over the slots (its last axis) that depends on the pod's template and on each node for itself: kept with the template, and
    computed again only where pods have come or gone. `compute` gets the slots to do and must not look at others. Not to be changed."""
    pod, snapshot = cycle.pod, cycle.snapshot
    if pod.requests is not pod.template.requests:
        return compute(slice(None))
    kept = pod.template.verdicts.get(name)
    if kept is not None and kept[0] == snapshot.version:
        seen, array = kept[1]
        slots = snapshot.changed_since(seen)
        if slots is not None:
            if slots:
                where = np.array(slots)
                array[..., where] = compute(where)
            snapshot.keep(pod.template, name, (snapshot.version, (snapshot.changes, array)))
            found: NDArray[Any] = array
            return found
    fresh = compute(slice(None))
    snapshot.keep(pod.template, name, (snapshot.version, (snapshot.changes, fresh)))
    return fresh


class NotBound(Exception):
    """A binding cycle gave up; the text is shown to the user."""


@dataclass(slots=True)
class Weighted:
    """A scoring plugin and its weight."""

    plugin: Plugin
    weight: int


@dataclass(slots=True)
class Profile:
    """One `schedulerName`: the plugins of each extension point, in order."""

    name: str
    plugins: Sequence[Plugin]
    filters: Sequence[Plugin]
    scores: Sequence[Weighted]
    pre_enqueue: Sequence[Plugin]
    sort: Plugin
    preemption: bool = True
    post_filter_prefix: str = ""
    wakes: dict[str, Sequence[Wake]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wakes = {plugin.name: plugin.wakes for plugin in self.plugins}


def overrides(plugin: Plugin, point: str) -> bool:
    """Whether the plugin takes part in an extension point."""
    return getattr(type(plugin), point) is not getattr(Plugin, point)


def normalised(scores: Scores, feasible: Mask, *, reverse: bool = False) -> Scores:
    """Upstream's DefaultNormalizeScore: scaled so that the best feasible node has 100; reversed, so that the lowest has most."""
    top = scores[feasible].max(initial=0.0)
    if top <= 0:
        return np.full_like(scores, MAX_SCORE) if reverse else scores
    scaled: Scores = np.floor(scores * MAX_SCORE / top)
    return MAX_SCORE - scaled if reverse else scaled
