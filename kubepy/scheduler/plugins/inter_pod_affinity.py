"""InterPodAffinity: pods that must, or would rather, be near to or away from other pods.

Refuses nodes where the pod's required affinity is not met, where its anti-affinity is violated, and where it would violate an existing
pod's required anti-affinity. Scores count the preferred terms of the pod and of the pods on nodes, and the required affinity terms of
the latter with `hardPodAffinityWeight`. Every count comes from the tallies, summed per topology domain."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.scheduler.framework import MAX_SCORE, Cycle, Event, Lens, Plugin, Reason, Refusal, Scores, Wake
from kubepy.scheduler.label import Mask, by_domain, to_nodes
from kubepy.scheduler.pod import Pod, Term
from kubepy.scheduler.snapshot import Node, Snapshot
from kubepy.scheduler.tally import Counts, TermTally

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"

    def __init__(self, args: dict[str, object] | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("AssignedPod", frozenset({"add", "delete", "label"}), _matters), Wake("Node", frozenset({"add", "label"})),
                      Wake("Pod", frozenset({"label"})), Wake("Namespace", frozenset({"label"}), _has_terms))
        self._ignore_preferred = bool(self.args.get("ignorePreferredTermsOfExistingPods"))

    # --- filter ---

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.template.affinity or cycle.template.anti_affinity or self._matching(cycle, cycle.snapshot.tallies.anti))

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        """In upstream's order: a node is refused for the first of affinity, anti-affinity, existing pods' anti-affinity."""
        snapshot, template = cycle.snapshot, cycle.template
        refusals: list[Refusal] = []
        none = np.zeros(snapshot.capacity, np.bool_)
        apart = none
        if template.affinity:
            apart = ~self._together(cycle)
            refusals.append(Refusal(apart, AFFINITY, False))
        crowded = none
        for term in template.anti_affinity:
            crowded = crowded | _occupied(snapshot, term, snapshot.tallies.matching(term.selector, living=False))
        if template.anti_affinity:
            refusals.append(Refusal(crowded & ~apart, ANTI_AFFINITY))
        hostile = none
        for tally in self._matching(cycle, snapshot.tallies.anti):
            hostile = hostile | _occupied(snapshot, tally.term, tally.weights)
        if hostile is not none:
            refusals.append(Refusal(hostile & ~apart & ~crowded, EXISTING))
        return refusals

    def _together(self, cycle: Cycle) -> Mask:
        """Nodes where every required term finds a pod that matches all terms; if no pod anywhere does and the pod matches its own
        terms, it is the first of its kind and only needs the topology keys."""
        snapshot, terms = cycle.snapshot, cycle.template.affinity
        keyed = snapshot.exists.copy()
        for term in terms:
            keyed &= snapshot.column(term.topology_key).ids >= 0
        counts = self._all_terms(snapshot, terms)
        met = keyed.copy()
        anywhere = False
        for term in terms:
            column = snapshot.column(term.topology_key)
            domains = by_domain(column, counts)
            anywhere = anywhere or bool(domains.any())
            met &= to_nodes(column, domains) > 0
        if not anywhere and self._selects_itself(cycle, terms):
            return keyed
        return met

    def _all_terms(self, snapshot: Snapshot, terms: Sequence[Term]) -> Counts:
        """Pods per node that match every term at once."""
        selectors = list(dict.fromkeys(term.selector for term in terms))
        if len(selectors) == 1:
            return snapshot.tallies.matching(selectors[0], living=False)
        counts = np.zeros(snapshot.capacity, np.int64)
        for group in snapshot.tallies.groups():
            if all(snapshot.tallies.selects(selector, group.labels, group.namespace) for selector in selectors):
                for slot, count in group.nodes.items():
                    counts[slot] += count
        return counts

    def _selects_itself(self, cycle: Cycle, terms: Sequence[Term]) -> bool:
        pod = cycle.pod
        return all(cycle.snapshot.tallies.selects(term.selector, pod.labels, pod.namespace) for term in terms)

    def _matching(self, cycle: Cycle, where: dict[Term, TermTally]) -> list[TermTally]:
        """The terms pods on nodes carry that concern this pod."""
        pod, tallies = cycle.pod, cycle.snapshot.tallies
        return [tally for tally in where.values() if tallies.selects(tally.term.selector, pod.labels, pod.namespace)]

    def lens(self, cycle: Cycle) -> Lens:
        tallies, template = cycle.snapshot.tallies, cycle.template
        return _Neighbours(
            cycle, [(term, self._all_terms(cycle.snapshot, template.affinity)) for term in template.affinity],
            [(term, tallies.matching(term.selector, living=False)) for term in template.anti_affinity],
            [(tally.term, tally.weights) for tally in self._matching(cycle, tallies.anti)], self._selects_itself(cycle, template.affinity))

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        snapshot, pod = cycle.snapshot, cycle.pod
        selects = snapshot.tallies.selects
        pods = [(other, where) for where in snapshot.nodes.values() for other in where.pods.values()]

        def near(term: Term, where: Node) -> bool:
            return term.topology_key in node.labels and node.labels[term.topology_key] == where.labels.get(term.topology_key)

        terms = cycle.template.affinity
        if terms:
            alike = [(other, where) for other, where in pods
                     if all(selects(term.selector, other.labels, other.namespace) for term in terms)]
            anywhere = any(term.topology_key in where.labels for _, where in alike for term in terms)
            if not all(term.topology_key in node.labels for term in terms):
                return (Reason(AFFINITY, False),)
            if not all(any(near(term, where) for _, where in alike) for term in terms) \
                    and (anywhere or not self._selects_itself(cycle, terms)):
                return (Reason(AFFINITY, False),)
        if any(near(term, where) and selects(term.selector, other.labels, other.namespace)
               for term in cycle.template.anti_affinity for other, where in pods):
            return (Reason(ANTI_AFFINITY),)
        if any(near(term, where) and selects(term.selector, pod.labels, pod.namespace)
               for other, where in pods for term in other.template.anti_affinity):
            return (Reason(EXISTING),)
        return ()

    # --- score ---

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        snapshot = cycle.snapshot
        total: Scores | None = None
        for weight, term in cycle.template.preferred:
            counts = snapshot.tallies.matching(term.selector, living=False)
            total = _add(snapshot, total, term, counts * weight)
        if not self._ignore_preferred or cycle.template.preferred:
            for tally in self._matching(cycle, snapshot.tallies.score):
                total = _add(snapshot, total, tally.term, tally.weights)
        if total is None:
            return None
        values = total[feasible]
        low, high = values.min(), values.max()
        if high == low:
            return None
        found: Scores = np.floor(MAX_SCORE * (total - low) / (high - low))
        return found

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        snapshot, pod = cycle.snapshot, cycle.pod
        selects = snapshot.tallies.selects
        pods = [(other, where) for where in snapshot.nodes.values() for other in where.pods.values()]

        def raw(here: Node) -> int:
            def near(term: Term, where: Node) -> bool:
                return term.topology_key in here.labels and here.labels[term.topology_key] == where.labels.get(term.topology_key)

            total = 0
            for other, where in pods:
                total += sum(weight for weight, term in cycle.template.preferred
                             if near(term, where) and selects(term.selector, other.labels, other.namespace))
                carried = (*other.template.preferred, *((1, term) for term in other.template.affinity))
                total += sum(weight for weight, term in carried if near(term, where) and selects(term.selector, pod.labels, pod.namespace))
            return total

        values = [raw(other) for other in feasible]
        if max(values) == min(values):
            return 0
        return MAX_SCORE * (raw(node) - min(values)) // (max(values) - min(values))


class _Neighbours:
    """Counts per topology domain of the terms, less what has left the node. Each is (term, domains by slot, counts by domain)."""

    def __init__(self, cycle: Cycle, near: Sequence[tuple[Term, Counts]], apart: Sequence[tuple[Term, Counts]],
                 hostile: Sequence[tuple[Term, Counts]], first_of_its_kind: bool) -> None:
        """`near`: terms with the pods that match all of them; `apart`: with those that match each; `hostile`: with those that carry it."""
        self._tallies, self._first = cycle.snapshot.tallies, first_of_its_kind
        self._near, self._apart, self._hostile = (
            [(term, (column := cycle.snapshot.column(term.topology_key)).ids, by_domain(column, counts)) for term, counts in terms]
            for terms in (near, apart, hostile))
        self._everywhere = [float(domains.sum()) for _, _, domains in self._near]
        self._slot = 0
        self._gone: list[int] = []

    def enter(self, node: Node) -> None:
        self._slot = node.slot
        self._gone = [0] * (1 + len(self._apart) + len(self._hostile))

    def change(self, pod: Pod, sign: int) -> None:
        gone, selects = self._gone, self._tallies.selects
        if self._near and all(selects(term.selector, pod.labels, pod.namespace) for term, _, _ in self._near):
            gone[0] -= sign
        at = 1
        for term, _, _ in self._apart:
            if selects(term.selector, pod.labels, pod.namespace):
                gone[at] -= sign
            at += 1
        carried = pod.template.anti_affinity
        if not carried:
            return
        for term, _, _ in self._hostile:
            gone[at] -= sign * carried.count(term)
            at += 1

    def reasons(self) -> Sequence[Reason]:
        slot, gone = self._slot, self._gone
        if self._near:
            here = [ids[slot] for _, ids, _ in self._near]
            if min(here) < 0:
                return (Reason(AFFINITY, False),)
            anywhere = max(self._everywhere) > gone[0]
            if not (self._first and not anywhere) and not all(
                    domains[domain] > gone[0] for (_, _, domains), domain in zip(self._near, here, strict=True)):
                return (Reason(AFFINITY, False),)
        at = 1
        for terms, text in ((self._apart, ANTI_AFFINITY), (self._hostile, EXISTING)):
            for _, ids, domains in terms:
                if (domain := ids[slot]) >= 0 and domains[domain] > gone[at]:
                    return (Reason(text),)
                at += 1
        return ()


def _occupied(snapshot: Snapshot, term: Term, counts: Counts) -> Mask:
    """Nodes in the same domain as any counted pod."""
    column = snapshot.column(term.topology_key)
    found: Mask = to_nodes(column, by_domain(column, counts)) > 0
    return found


def _add(snapshot: Snapshot, total: Scores | None, term: Term, weights: Counts) -> Scores | None:
    if not weights.any():
        return total
    column = snapshot.column(term.topology_key)
    more: Scores = to_nodes(column, by_domain(column, weights))
    return more if total is None else total + more


def _matters(pod: Pod, event: Event) -> bool:
    """A pod it wants to be near to came; one it must be away from, or that wants it away, left; or either changed its labels."""
    template = pod.template
    came, gone = event.new, event.old
    if isinstance(came, Pod) and any(term.selector.may_select(came) for term in template.affinity):
        return True
    return isinstance(gone, Pod) and (any(term.selector.may_select(gone) for term in template.anti_affinity)
                                      or any(term.selector.may_select(pod) for term in gone.template.anti_affinity))


def _has_terms(pod: Pod, event: Event) -> bool:
    template = pod.template
    return bool(template.affinity or template.anti_affinity or template.preferred)
