"""The decision for one pod: which node, or why none. Pure: reads the snapshot, changes nothing, awaits nothing."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from kubepy.scheduler.framework import Cycle, Profile, Reason, Scores
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node, Snapshot

NO_NODES = "no nodes available to schedule pods"


@dataclass(slots=True)
class Unfit:
    """Why a pod fits nowhere. `by_plugin` drives the queueing hints, `resolvable` preemption."""

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


@dataclass(slots=True)
class Decision:
    """The outcome of a cycle: `node` or `unfit`."""

    cycle: Cycle
    node: str = ""
    feasible: int = 0
    unfit: Unfit | None = None


def histogram(counts: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


def decide(pod: Pod, snapshot: Snapshot, profile: Profile, rng: random.Random) -> Decision:
    """Filters and scores every node; ties are broken at random."""
    cycle = Cycle(pod, snapshot)
    if not len(snapshot):
        return Decision(cycle, unfit=Unfit(0))
    feasible, unfit = fit(cycle, profile)
    count = int(np.count_nonzero(feasible))
    if not count:
        return Decision(cycle, unfit=unfit)
    if pod.nominated and (node := snapshot.nodes.get(pod.nominated)) is not None and feasible[node.slot]:
        return Decision(cycle, node.name, count)
    if count == 1:
        return Decision(cycle, snapshot.names[int(np.argmax(feasible))], count)
    total, _ = score(cycle, profile, feasible)
    total[~feasible] = -1
    best = np.flatnonzero(total == total.max())
    return Decision(cycle, snapshot.names[int(best[rng.randrange(len(best))])], count)


@contextmanager
def rivals_counted(snapshot: Snapshot, pod: Pod) -> Iterator[bool]:
    """Counts the pods of no less priority that are nominated to nodes as if they were there; says whether there are any."""
    rivals = [(other, node) for other, node in snapshot.nominated.values()
              if other.key != pod.key and other.priority >= pod.priority and node in snapshot.nodes and not other.node]
    for other, node in rivals:
        snapshot.assume(other, node)
    try:
        yield bool(rivals)
    finally:
        for other, node in rivals:
            snapshot.unassume(other)
            snapshot.nominated[other.key] = (other, node)


def fit(cycle: Cycle, profile: Profile) -> tuple[Mask, Unfit]:
    """The nodes that pass every filter, with the pods nominated to nodes counted there and, where there are such, without them too."""
    with rivals_counted(cycle.snapshot, cycle.pod) as any_rivals:
        feasible, unfit = fit_now(Cycle(cycle.pod, cycle.snapshot) if any_rivals else cycle, profile)
    if any_rivals:
        without, plain = fit_now(cycle, profile)
        return feasible & without, unfit if not feasible.any() else plain
    return feasible, unfit


def reasons_at(cycle: Cycle, profile: Profile, node: Node) -> Sequence[Reason]:
    """Why the first filter that refuses the node does so; empty: it fits."""
    for plugin in profile.filters:
        found = [Reason(r.reason, r.resolvable) for r in plugin.filter(cycle) if r.nodes[node.slot]]
        if found:
            return found
    return ()


def fit_now(cycle: Cycle, profile: Profile) -> tuple[Mask, Unfit]:
    snapshot = cycle.snapshot
    unfit = Unfit(len(snapshot))
    alive: Mask = snapshot.exists.copy()
    resolvable = np.zeros_like(alive)
    limits: list[tuple[str, frozenset[str]]] = []
    for plugin in profile.filters:
        if (why := plugin.pre_filter(cycle)) is not None:
            unfit.pre_filter = why
            unfit.plugins.add(plugin.name)
            unfit.resolvable = resolvable
            return np.zeros_like(alive), unfit
        if (names := plugin.node_names(cycle)) is not None:
            limits.append((plugin.name, names))
    if limits:
        alive = _restrict(alive, limits, snapshot, unfit)
    for plugin in profile.filters:
        refusals = plugin.filter(cycle)
        if not refusals:
            continue
        refused, fixed = np.zeros_like(alive), np.zeros_like(alive)
        for refusal in refusals:
            mask = refusal.nodes & alive
            count = int(np.count_nonzero(mask))
            if not count:
                continue
            unfit.counts[refusal.reason] += count
            unfit.plugins.add(plugin.name)
            refused |= mask
            if not refusal.resolvable:
                fixed |= mask
        resolvable |= refused & ~fixed
        alive &= ~refused
        if not alive.any():
            break
    unfit.resolvable = resolvable
    return alive, unfit


def _restrict(alive: Mask, limits: Sequence[tuple[str, frozenset[str]]], snapshot: Snapshot, unfit: Unfit) -> Mask:
    names = frozenset.intersection(*(names for _, names in limits))
    plugins = sorted(name for name, _ in limits)
    chosen = np.zeros_like(alive)
    for name in names:
        if (node := snapshot.nodes.get(name)) is not None:
            chosen[node.slot] = True
    outside = int(np.count_nonzero(alive & ~chosen))
    if outside:
        unfit.counts[f"node(s) didn't satisfy plugin(s) [{' '.join(plugins)}]"] += outside
        unfit.plugins.update(plugins)
    return alive & chosen


def score(cycle: Cycle, profile: Profile, feasible: Mask) -> tuple[Scores, dict[str, Scores]]:
    """The weighted sum over all slots, and each plugin's part of it."""
    total = np.zeros(cycle.snapshot.capacity, np.float64)
    parts: dict[str, Scores] = {}
    for weighted in profile.scores:
        part = weighted.plugin.score(cycle, feasible)
        if part is not None:
            part = part * weighted.weight
            parts[weighted.plugin.name] = part
            total += part
    return total, parts


def fits_node(cycle: Cycle, profile: Profile, node: Node) -> tuple[str, Sequence[Reason]]:
    """The plain rules for one node, in order: the first plugin that refuses with its reasons, or ("", ())."""
    for plugin in profile.filters:
        reasons = plugin.filter_node(cycle, node)
        if reasons:
            return plugin.name, reasons
    return "", ()
