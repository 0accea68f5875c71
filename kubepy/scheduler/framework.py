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

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.task import Tasks
from kubepy.client.events import ActionRecorder
from kubepy.client.interface import Client
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod, Template
from kubepy.scheduler.snapshot import Node, Snapshot
from kubepy.scheduler.timing import Timing

MAX_SCORE = 100
TOO_MANY = "Too many pods"
NO_NODES = "no nodes available to schedule pods"
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

    __slots__ = ("alive", "pod", "snapshot", "state", "timing")

    def __init__(self, pod: Pod, snapshot: Snapshot, timing: Timing | None = None) -> None:
        self.pod = pod
        self.snapshot = snapshot
        self.state: dict[str, Any] = {}
        self.alive: Mask | None = None
        """While filters run: the nodes that no filter has refused so far (None: all). What others get may be left out."""
        self.timing = timing

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


@dataclass(slots=True)
class Unfit:
    """Why a pod fits nowhere. `plugins` drives the queueing hints, `resolvable` preemption."""

    nodes: int
    counts: Counter[str] = field(default_factory=Counter)
    plugins: set[str] = field(default_factory=set)
    resolvable: Mask | None = None
    """Slots where taking pods away could help."""
    pre_filter: str = ""
    after: str = ""
    """What PostFilter plugins had to say."""

    def message(self) -> str:
        """Upstream's FitError text."""
        if not self.nodes:
            return NO_NODES
        text = f"0/{self.nodes} nodes are available:"
        if self.pre_filter:
            text += f" {self.pre_filter}."
        elif self.counts:
            text += " " + histogram(self.counts) + "."
        return f"{text} {self.after}" if self.after else text


def histogram(counts: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


@dataclass(slots=True)
class Rescue:
    """What a PostFilter plugin has done for a pod that fits nowhere. `nominate`: the node to nominate, "" to take a nomination back,
    None to leave it as it is. `final`: no other plugin is asked."""

    message: str = ""
    nominate: str | None = None
    final: bool = False


class NotBound(Exception):
    """A binding cycle gave up on an error; the text is shown to the user."""


class Rejected(NotBound):
    """A plugin refuses the pod after its node was chosen (Reserve, Permit, PreBind): it waits for an event that helps that plugin."""


class Waiting(Protocol):
    """The pods that a Permit plugin holds back (see `permit`)."""

    def allow(self, uid: str, plugin: str) -> None: ...
    def reject(self, uid: str, plugin: str, message: str) -> bool: ...
    def pods(self) -> Iterable[Pod]: ...


@dataclass(slots=True)
class Handle:
    """What a plugin acts with: the API, the time, events, and the profile it belongs to."""

    client: Client
    clock: Clock
    recorder: ActionRecorder
    profile: Profile
    snapshot: Snapshot
    tasks: Tasks
    waiting: Waiting
    rng: random.Random
    budgets: Callable[[], Sequence[Any]]
    activate: Callable[[Iterable[str]], None]
    """Tries these pods (by key) at once, whatever they waited for."""
    extenders: Sequence[Any] = ()


class Lens(Protocol):
    """What a filter says about one node when some of its pods are gone. The snapshot stays as it was when the lens was made."""

    def enter(self, node: Node) -> None:
        """Looks at this node from now on, with all its pods."""

    def change(self, pod: Pod, sign: int) -> None:
        """A pod leaves the node (-1), or comes back (1)."""

    def reasons(self) -> Sequence[Reason]:
        """Why the node is refused as it is now; the texts are those of `filter`."""
        ...


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

    def concerns(self, cycle: Cycle) -> bool:
        """Whether pods that come to a node or leave it can change what the filter says about this pod: if not, preemption asks once."""
        return True

    def lens(self, cycle: Cycle) -> Lens | None:
        """The filter for one node after another with some of its pods gone, for preemption; None: pods are taken from the snapshot and
        `filter` is asked about all nodes each time, which is a hundred times slower."""
        return None

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        """The nodes refused; a node refused for several reasons is in several refusals. A plugin that only has `filter_node` is asked
        node by node."""
        return by_node(self, cycle) if type(self).filter_node is not Plugin.filter_node else ()

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        """The plain rule for one node, from the snapshot as it is now."""
        return ()

    async def post_filter(self, cycle: Cycle, unfit: Unfit) -> Rescue | None:
        """Tries to make room for a pod that fits nowhere; None: nothing to say."""
        return None

    def pre_score(self, cycle: Cycle, feasible: Mask) -> bool:
        """Prepares scoring in `cycle.state`; False: the plugin has nothing to say about this pod."""
        return True

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        """Scores over all slots, of which only the feasible ones count; None: nothing to say about this pod. A plugin that only has
        `score_node` is asked node by node."""
        return each_node(self, cycle, feasible) if type(self).score_node is not Plugin.score_node else None

    def normalize_score(self, cycle: Cycle, scores: Scores, feasible: Mask) -> Scores:
        """Brings the feasible nodes' scores between 0 and 100, where `score` has not."""
        return scores

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        """The plain rule for one node."""
        return None

    # --- what follows a decision ---

    def reserve(self, cycle: Cycle, node: str) -> None:
        """Sets aside what the pod needs on the node; raises NotBound. No I/O: nothing may change in between."""

    def unreserve(self, cycle: Cycle, node: str) -> None:
        """Takes that back: the pod will not be bound after all. Also called where nothing was reserved."""

    def permit(self, cycle: Cycle, node: str) -> float | None:
        """May the pod be bound? None: yes; a number: hold it back for so many seconds at most, until `handle.waiting.allow` is called
        for it (it is rejected when the time is up); raises `Rejected`."""
        return None

    def waits(self, cycle: Cycle) -> bool:
        """Whether `pre_bind` may take long for this pod: then it does not hold up others."""
        return True

    async def pre_bind(self, cycle: Cycle, node: str) -> None:
        """What must be true before the pod is bound; raises `NotBound` to give up."""

    async def bind(self, cycle: Cycle, node: str) -> bool:
        """Binds the pod (True) or leaves it to the next binder (False); raises `NotBound`, `ApiError` or `ConnectionError`."""
        return False

    async def post_bind(self, cycle: Cycle, node: str) -> None:
        """The pod is bound: what a plugin wants to tidy up."""


def by_node(plugin: Plugin, cycle: Cycle) -> Sequence[Refusal]:
    """A filter over all nodes that are still in question, made of the plain rule for one."""
    snapshot = cycle.snapshot
    found: dict[Reason, Mask] = {}
    for slot in np.flatnonzero(snapshot.exists if cycle.alive is None else cycle.alive):
        node = snapshot.slots[int(slot)]
        for reason in plugin.filter_node(cycle, node) if node is not None else ():
            found.setdefault(Reason(*reason), np.zeros(snapshot.capacity, np.bool_))[slot] = True
    return [Refusal(mask, *reason) for reason, mask in found.items()]


def each_node(plugin: Plugin, cycle: Cycle, feasible: Mask) -> Scores | None:
    snapshot = cycle.snapshot
    nodes = [node for slot in np.flatnonzero(feasible) if (node := snapshot.slots[int(slot)]) is not None]
    scores = np.zeros(snapshot.capacity)
    for node in nodes:
        value = plugin.score_node(cycle, node, nodes)
        if value is None:
            return None
        scores[node.slot] = value
    return scores


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


@dataclass(slots=True)
class Weighted:
    """A scoring plugin and its weight."""

    plugin: Plugin
    weight: int


POINTS: Mapping[str, tuple[str, ...]] = {
    "preEnqueue": ("pre_enqueue",), "queueSort": ("sort_key",), "preFilter": ("pre_filter", "node_names"),
    "filter": ("filter", "filter_node"), "postFilter": ("post_filter",), "preScore": ("pre_score",), "score": ("score", "score_node"),
    "reserve": ("reserve", "unreserve"), "permit": ("permit",), "preBind": ("pre_bind",), "bind": ("bind",), "postBind": ("post_bind",),
}
"""Each extension point as configurations call it, with the methods that take part in it."""


@dataclass(slots=True)
class Profile:
    """One `schedulerName`: its plugins, and those of each extension point in order."""

    name: str
    plugins: Sequence[Plugin]
    points: Mapping[str, Sequence[Plugin]]
    scores: Sequence[Weighted]
    wakes: dict[str, Sequence[Wake]] = field(default_factory=dict)
    filters: Sequence[Plugin] = ()

    def __post_init__(self) -> None:
        self.wakes = {plugin.name: plugin.wakes for plugin in self.plugins}
        self.filters = self.points["filter"]

    @property
    def sort(self) -> Plugin:
        return self.points["queueSort"][0]


def takes_part(plugin: type[Plugin], point: str) -> bool:
    """Whether a plugin implements an extension point."""
    return any(getattr(plugin, method) is not getattr(Plugin, method) for method in POINTS[point])


def normalised(scores: Scores, feasible: Mask, *, reverse: bool = False) -> Scores:
    """Upstream's DefaultNormalizeScore: scaled so that the best feasible node has 100; reversed, so that the lowest has most."""
    top = scores[feasible].max(initial=0.0)
    if top <= 0:
        return np.full_like(scores, MAX_SCORE) if reverse else scores
    scaled: Scores = np.floor(scores * MAX_SCORE / top)
    return MAX_SCORE - scaled if reverse else scaled
