"""The decision for one pod: which node, or why none. Pure: reads the snapshot, changes nothing, awaits nothing."""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

import numpy as np

from kubepy.scheduler.framework import Cycle, Plugin, Profile, Reason, Scores, Unfit
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node, Snapshot
from kubepy.scheduler.timing import Timing

T = TypeVar("T")


@dataclass(slots=True)
class Advice:
    """What extenders outside the process have said about nodes, by name: which may be used, why others may not (reason, resolvable),
    and how much to add to whose score."""

    allowed: frozenset[str]
    refused: Mapping[str, Reason] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    plugins: frozenset[str] = frozenset()

@dataclass(slots=True)
class Decision:
    """The outcome of a cycle: `node` or `unfit`."""

    cycle: Cycle
    node: str = ""
    feasible: int = 0
    unfit: Unfit | None = None


def decide(pod: Pod, snapshot: Snapshot, profile: Profile, rng: random.Random, *, advice: Advice | None = None,
           timing: Timing | None = None) -> Decision:
    """Filters and scores every node; ties are broken at random."""
    cycle = Cycle(pod, snapshot, timing)
    if not len(snapshot):
        return Decision(cycle, unfit=Unfit(0))
    feasible, unfit = fit(cycle, profile)
    if advice is not None:
        _heed(advice, feasible, unfit, snapshot)
    count = int(np.count_nonzero(feasible))
    if not count:
        return Decision(cycle, unfit=unfit)
    if pod.nominated and (node := snapshot.nodes.get(pod.nominated)) is not None and feasible[node.slot]:
        return Decision(cycle, node.name, count)
    if count == 1:
        return Decision(cycle, snapshot.names[int(np.argmax(feasible))], count)
    total, _ = score(cycle, profile, feasible)
    if advice is not None:
        for name, more in advice.scores.items():
            if (node := snapshot.nodes.get(name)) is not None:
                total[node.slot] += more
    total[~feasible] = -1
    best = np.flatnonzero(total == total.max())
    return Decision(cycle, snapshot.names[int(best[rng.randrange(len(best))])], count)


def _heed(advice: Advice, feasible: Mask, unfit: Unfit, snapshot: Snapshot) -> None:
    """Leaves only the nodes that the extenders allow."""
    for slot in np.flatnonzero(feasible):
        name = snapshot.names[int(slot)]
        if name in advice.allowed:
            continue
        feasible[slot] = False
        unfit.plugins |= advice.plugins
        if (reason := advice.refused.get(name)) is not None:
            if reason.text:
                unfit.counts[reason.text] += 1
            if reason.resolvable and unfit.resolvable is not None:
                unfit.resolvable[slot] = True


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
    cycle.alive = np.zeros(cycle.snapshot.capacity, np.bool_)
    cycle.alive[node.slot] = True
    for plugin in profile.points["preFilter"]:
        if (why := plugin.pre_filter(cycle)) is not None:
            return (Reason(why, False),)
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
    unfit.resolvable = resolvable
    began = perf_counter()
    limits: list[tuple[str, frozenset[str]]] = []
    for plugin in profile.points["preFilter"]:
        if (why := _timed(cycle, plugin, "PreFilter", lambda plugin=plugin: plugin.pre_filter(cycle))) is not None:  # type: ignore[misc]
            unfit.pre_filter = why
            unfit.plugins.add(plugin.name)
            if cycle.timing is not None:
                cycle.timing.point("PreFilter", perf_counter() - began, "UnschedulableAndUnresolvable")
            return np.zeros_like(alive), unfit
        if (names := plugin.node_names(cycle)) is not None:
            limits.append((plugin.name, names))
    if limits:
        alive = _restrict(alive, limits, snapshot, unfit)
    if cycle.timing is not None:
        now = perf_counter()
        cycle.timing.point("PreFilter", now - began)
        began = now
    for plugin in profile.filters:
        cycle.alive = alive
        refusals = _timed(cycle, plugin, "Filter", lambda plugin=plugin: plugin.filter(cycle))  # type: ignore[misc]
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
    if cycle.timing is not None:
        cycle.timing.point("Filter", perf_counter() - began, "Success" if alive.any() else "Unschedulable")
    return alive, unfit


def _timed(cycle: Cycle, plugin: Plugin, point: str, work: Callable[[], T]) -> T:
    """Runs a plugin; in one attempt of ten (as upstream) with a look at the clock."""
    timing = cycle.timing
    if timing is None:
        return work()
    timing.evaluated(point, plugin.name)
    if not timing.sampled:
        return work()
    began = perf_counter()
    found = work()
    timing.plugin(point, plugin.name, perf_counter() - began)
    return found


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
    began = perf_counter()
    silent = {plugin.name for plugin in profile.points["preScore"] if not plugin.pre_score(cycle, feasible)}
    if cycle.timing is not None:
        now = perf_counter()
        cycle.timing.point("PreScore", now - began)
        began = now
    for weighted in profile.scores:
        plugin = weighted.plugin
        if plugin.name in silent:
            continue
        part = _timed(cycle, plugin, "Score", lambda plugin=plugin: plugin.score(cycle, feasible))  # type: ignore[misc]
        if part is not None:
            part = plugin.normalize_score(cycle, part, feasible) * weighted.weight
            parts[plugin.name] = part
            total += part
    if cycle.timing is not None:
        cycle.timing.point("Score", perf_counter() - began)
    return total, parts


def fits_node(cycle: Cycle, profile: Profile, node: Node) -> tuple[str, Sequence[Reason]]:
    """The plain rules for one node, in order: the first plugin that refuses with its reasons, or ("", ())."""
    for plugin in profile.filters:
        reasons = plugin.filter_node(cycle, node)
        if reasons:
            return plugin.name, reasons
    return "", ()
