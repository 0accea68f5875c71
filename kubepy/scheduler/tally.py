"""Counts of pods per node, kept while pods come and go: who matches a selector, and who carries an affinity term.

Pods with the same namespace, labels and deletion state form a *group*; a selector is evaluated once per group, not per pod.
A `Tally` is one array over the node slots. What a plugin asks for the first time is counted once and then kept up to date; the
selectors that have not been asked for longest are forgotten when there are more than `LIMIT`.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kubepy.api.scheduling import Labels
from kubepy.scheduler.pod import Pod, Selector, Template, Term

Counts = NDArray[np.int64]
LIMIT = 4096
_GroupKey = tuple[str, frozenset[tuple[str, str]], bool]


@dataclass(slots=True, eq=False)
class Group:
    """Pods that no selector can tell apart. `nodes` counts them per slot."""

    namespace: str
    labels: Labels
    deleting: bool
    nodes: dict[int, int] = field(default_factory=dict)
    tallies: list[Tally] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Tally:
    """How many pods per node match `selector`; without the terminating ones where `living` is set."""

    selector: Selector
    living: bool
    counts: Counts


@dataclass(slots=True, eq=False)
class TermTally:
    """The weight per node of the pods that carry `term`, and how many carry it at all."""

    term: Term
    weights: Counts
    carriers: int = 0


class Tallies:
    """All counts. `hard_weight` is what a required affinity term of an existing pod counts for in scores."""

    def __init__(self, capacity: int, hard_weight: int = 1) -> None:
        self._capacity = capacity
        self._hard_weight = hard_weight
        self._groups: dict[_GroupKey, Group] = {}
        self._tallies: OrderedDict[tuple[Selector, bool], Tally] = OrderedDict()
        self._namespaces: dict[str, Labels] = {}
        self.anti: dict[Term, TermTally] = {}
        """Required anti-affinity terms of the pods on nodes."""
        self.score: dict[Term, TermTally] = {}
        """Preferred terms (weights signed) and required affinity terms of the pods on nodes."""

    # --- questions ---

    def matching(self, selector: Selector, *, living: bool) -> Counts:
        """Pods per node slot that the selector matches. The caller must not change the array."""
        key = (selector, living)
        tally = self._tallies.get(key)
        if tally is not None:
            self._tallies.move_to_end(key)
            return tally.counts
        tally = self._tallies[key] = Tally(selector, living, np.zeros(self._capacity, np.int64))
        for group in self._groups.values():
            if self._counts(tally, group):
                group.tallies.append(tally)
                for slot, count in group.nodes.items():
                    tally.counts[slot] += count
        if len(self._tallies) > LIMIT:
            _, old = self._tallies.popitem(last=False)
            for group in self._groups.values():
                if old in group.tallies:
                    group.tallies.remove(old)
        return tally.counts

    def selects(self, selector: Selector, labels: Labels, namespace: str) -> bool:
        return selector.selects(labels, namespace, self._namespaces.get(namespace, {}))

    def groups(self) -> Iterable[Group]:
        return self._groups.values()

    def _counts(self, tally: Tally, group: Group) -> bool:
        if tally.living and group.deleting:
            return False
        return self.selects(tally.selector, group.labels, group.namespace)

    # --- changes ---

    def add(self, pod: Pod, slot: int) -> None:
        group = self._group(pod)
        group.nodes[slot] = group.nodes.get(slot, 0) + 1
        for tally in group.tallies:
            tally.counts[slot] += 1
        self._carry(pod.template, slot, 1)

    def remove(self, pod: Pod, slot: int) -> None:
        key = _key(pod)
        group = self._groups[key]
        left = group.nodes[slot] - 1
        if left:
            group.nodes[slot] = left
        else:
            del group.nodes[slot]
            if not group.nodes:
                del self._groups[key]
        for tally in group.tallies:
            tally.counts[slot] -= 1
        self._carry(pod.template, slot, -1)

    def _group(self, pod: Pod) -> Group:
        key = _key(pod)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(pod.namespace, pod.labels, pod.deleting)
            group.tallies = [tally for tally in self._tallies.values() if self._counts(tally, group)]
        return group

    def _carry(self, template: Template, slot: int, sign: int) -> None:
        for term in template.anti_affinity:
            self._weigh(self.anti, term, slot, sign, sign)
        for weight, term in template.preferred:
            self._weigh(self.score, term, slot, sign * weight, sign)
        if self._hard_weight:
            for term in template.affinity:
                self._weigh(self.score, term, slot, sign * self._hard_weight, sign)

    def _weigh(self, where: dict[Term, TermTally], term: Term, slot: int, weight: int, carriers: int) -> None:
        tally = where.get(term)
        if tally is None:
            tally = where[term] = TermTally(term, np.zeros(self._capacity, np.int64))
        tally.weights[slot] += weight
        tally.carriers += carriers
        if not tally.carriers:
            del where[term]

    def set_namespace(self, name: str, labels: Labels | None) -> None:
        """A namespace's labels (None: it is gone); selectors over namespaces are counted anew when they change."""
        before = self._namespaces.get(name, {})
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
        if dict(before) == dict(labels or {}):
            return
        stale = [key for key in self._tallies if key[0].namespace_labels != b"null"]
        for key in stale:
            old = self._tallies.pop(key)
            for group in self._groups.values():
                if old in group.tallies:
                    group.tallies.remove(old)

    def grow(self, capacity: int) -> None:
        self._capacity = capacity
        for tally in self._tallies.values():
            tally.counts = _grown(tally.counts, capacity)
        for carried in (*self.anti.values(), *self.score.values()):
            carried.weights = _grown(carried.weights, capacity)

    @property
    def namespaces(self) -> Mapping[str, Labels]:
        return self._namespaces


def _key(pod: Pod) -> _GroupKey:
    return (pod.namespace, frozenset(pod.labels.items()), pod.deleting)


def _grown(counts: Counts, capacity: int) -> Counts:
    grown = np.zeros(capacity, np.int64)
    grown[:len(counts)] = counts
    return grown
