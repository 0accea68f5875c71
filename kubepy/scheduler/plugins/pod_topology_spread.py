"""PodTopologySpread: keeps the pods a selector matches evenly spread over the domains of a topology key.

Counts per node come from the tallies; a domain's count is their sum over the nodes that count (node inclusion policies: those the pod's
own node affinity accepts, and, where asked, whose taints it tolerates; only nodes with every hard (soft) constraint's key).
The profile's default constraints (`defaultConstraints`, or the system's: hostname and zone, soft) apply to pods that have none of their
own; they count the pods that the Services and the controller of this one select.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.framework import MAX_SCORE, Cycle, Event, Lens, Plugin, Reason, Refusal, Scores, Wake
from kubepy.scheduler.label import Mask, by_domain, to_nodes
from kubepy.scheduler.plugins.node_affinity import accepted_mask, accepts
from kubepy.scheduler.pod import Pod, Spread, parse_spread
from kubepy.scheduler.snapshot import Node, Snapshot

UNEVEN = "node(s) didn't match pod topology spread constraints"
NO_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
HOSTNAME = "kubernetes.io/hostname"
SYSTEM_DEFAULTS: tuple[Object, ...] = (
    {"topologyKey": HOSTNAME, "maxSkew": 3, "whenUnsatisfiable": "ScheduleAnyway"},
    {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 5, "whenUnsatisfiable": "ScheduleAnyway"},
)


@dataclass(slots=True)
class _Hard:
    """A hard constraint ready for filtering: `counts` per domain, and the least of them over the domains that count."""

    spread: Spread
    counts: NDArray[np.float64]
    least: float
    itself: int


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"
    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("AssignedPod", frozenset({"add", "delete", "label"}), self._matters),
                      Wake("Node", frozenset({"add", "delete", "label", "taint"})), Wake("Pod", frozenset({"label"})))
        self._made: dict[tuple[str, bytes], tuple[Spread, ...]] = {}
        self._listed = self.args.get("defaultingType") == "List"
        self._default_constraints = tuple(self.args.get("defaultConstraints") or ()) if self._listed else SYSTEM_DEFAULTS
        if any(constraint.get("labelSelector") for constraint in self._default_constraints):
            raise ValueError("defaultConstraints: labelSelector: Forbidden")

    # --- filter ---

    def concerns(self, cycle: Cycle) -> bool:
        return bool(self._hard(cycle))

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        hard = self._hard(cycle)
        if not hard:
            return ()
        snapshot = cycle.snapshot
        refusals: list[Refusal] = []
        missing = np.zeros(snapshot.capacity, np.bool_)
        keyed = self._keyed(snapshot, hard)
        uneven = np.zeros(snapshot.capacity, np.bool_)
        for spread in hard:
            column = snapshot.column(spread.topology_key)
            absent = column.ids < 0
            ready = self._prepare(cycle, spread, keyed)
            skew = to_nodes(column, ready.counts) + ready.itself - ready.least
            # constraints are looked at in order: the first that refuses a node says why
            fresh = ~missing & ~uneven
            missing |= fresh & absent
            uneven |= fresh & ~absent & (skew > spread.max_skew)
        if missing.any():
            refusals.append(Refusal(missing, NO_LABEL, False))
        if uneven.any():
            refusals.append(Refusal(uneven, UNEVEN))
        return refusals

    def lens(self, cycle: Cycle) -> Lens:
        hard = self._hard(cycle)
        keyed = self._keyed(cycle.snapshot, hard)
        return _Evenness(cycle, [(self._prepare(cycle, spread, keyed), keyed & self._included(cycle, spread)) for spread in hard])

    def _prepare(self, cycle: Cycle, spread: Spread, keyed: Mask) -> _Hard:
        snapshot = cycle.snapshot
        column = snapshot.column(spread.topology_key)
        counted = keyed & self._included(cycle, spread)
        counts = by_domain(column, snapshot.tallies.matching(spread.selector, living=True), counted)
        present = by_domain(column, np.ones(snapshot.capacity), counted) > 0
        domains = int(np.count_nonzero(present))
        least = float(counts[present].min()) if domains and domains >= spread.min_domains else 0.0
        itself = int(snapshot.tallies.selects(spread.selector, cycle.pod.labels, cycle.pod.namespace))
        return _Hard(spread, counts, least, itself)

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        hard = self._hard(cycle)
        snapshot = cycle.snapshot
        for spread in hard:
            if spread.topology_key not in node.labels:
                return (Reason(NO_LABEL, False),)
            per_domain: dict[str, int] = {}
            for other in snapshot.nodes.values():
                if all(s.topology_key in other.labels for s in hard) and _counts_node(cycle, spread, other):
                    domain = other.labels[spread.topology_key]
                    per_domain[domain] = per_domain.get(domain, 0) + _matching(snapshot, spread, other)
            least = min(per_domain.values(), default=0) if len(per_domain) >= spread.min_domains else 0
            itself = int(snapshot.tallies.selects(spread.selector, cycle.pod.labels, cycle.pod.namespace))
            if per_domain.get(node.labels[spread.topology_key], 0) + itself - least > spread.max_skew:
                return (Reason(UNEVEN),)
        return ()

    # --- score ---

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        soft, own = self._soft(cycle)
        if not soft:
            return None
        snapshot = cycle.snapshot
        keyed = self._keyed(snapshot, soft)
        scored = feasible & keyed if own else feasible
        total = np.zeros(snapshot.capacity, np.float64)
        for spread in soft:
            column = snapshot.column(spread.topology_key)
            matching = snapshot.tallies.matching(spread.selector, living=True)
            if spread.topology_key == HOSTNAME:
                counts = matching.astype(np.float64)
                size = int(np.count_nonzero(scored))
            else:
                counted = self._included(cycle, spread) & (keyed if own else True)
                here = by_domain(column, matching, counted)
                domains = by_domain(column, np.ones(snapshot.capacity), scored) > 0
                size = int(np.count_nonzero(domains))
                counts = to_nodes(column, np.where(domains, here, 0.0))
            total += np.where(column.ids >= 0, counts * np.log(size + 2) + (spread.max_skew - 1), 0.0)
        total = np.floor(total + 0.5)
        values = total[scored]
        if not values.size:
            return np.zeros(snapshot.capacity)
        low, high = values.min(), values.max()
        if not high:
            found = np.full(snapshot.capacity, float(MAX_SCORE))
        else:
            found = np.floor(MAX_SCORE * (high + low - total) / high)
        found[~scored] = 0.0
        return found

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        soft, own = self._soft(cycle)
        if not soft:
            return None
        snapshot = cycle.snapshot
        scored = [other for other in feasible if not own or all(s.topology_key in other.labels for s in soft)]
        if node not in scored:
            return 0

        def raw(other: Node) -> int:
            total = 0.0
            for spread in soft:
                domain = other.labels.get(spread.topology_key)
                if domain is None:
                    continue
                if spread.topology_key == HOSTNAME:
                    count, size = _matching(snapshot, spread, other), len(scored)
                else:
                    size = len({n.labels[spread.topology_key] for n in scored if spread.topology_key in n.labels})
                    count = sum(_matching(snapshot, spread, n) for n in snapshot.nodes.values()
                                if n.labels.get(spread.topology_key) == domain and _counts_node(cycle, spread, n)
                                and (not own or all(s.topology_key in n.labels for s in soft)))
                total += count * float(np.log(size + 2)) + spread.max_skew - 1
            return int(total + 0.5)

        values = [raw(other) for other in scored]
        if not max(values):
            return MAX_SCORE
        return MAX_SCORE * (max(values) + min(values) - raw(node)) // max(values)

    # --- shared ---

    def _matters(self, pod: Pod, event: Event) -> bool:
        """A pod that some hard constraint counts came, went or changed."""
        hard = [spread for spread in pod.template.spread if spread.hard]
        others = [other for other in (event.old, event.new) if isinstance(other, Pod)]
        return not hard or any(spread.selector.may_select(other) for spread in hard for other in others)

    def _hard(self, cycle: Cycle) -> Sequence[Spread]:
        return [spread for spread in cycle.template.spread or self._defaults(cycle) if spread.hard]

    def _soft(self, cycle: Cycle) -> tuple[Sequence[Spread], bool]:
        """The soft constraints, and whether nodes need all of their keys: not for the system's defaults, which suit any cluster."""
        if cycle.template.spread:
            return [spread for spread in cycle.template.spread if not spread.hard], True
        return [spread for spread in self._defaults(cycle) if not spread.hard], self._listed

    def _defaults(self, cycle: Cycle) -> Sequence[Spread]:
        """The profile's constraints for a pod that has none, selecting its fellows."""
        pod = cycle.pod
        if not self._default_constraints or (selector := cycle.snapshot.owners.selector(pod)) is None:
            return ()
        key = (pod.namespace, orjson.dumps(selector, option=orjson.OPT_SORT_KEYS))
        found = self._made.get(key)
        if found is None:
            if len(self._made) > 4096:
                self._made.clear()
            found = self._made[key] = tuple(parse_spread({**c, "labelSelector": selector}, pod.namespace, pod.labels)
                                            for c in self._default_constraints)
        return found

    def _keyed(self, snapshot: Snapshot, spreads: Sequence[Spread]) -> Mask:
        """Nodes that have every constraint's key."""
        found = snapshot.exists.copy()
        for spread in spreads:
            found &= snapshot.column(spread.topology_key).ids >= 0
        return found

    def _included(self, cycle: Cycle, spread: Spread) -> Mask:
        """The constraint's node inclusion policies."""
        found = cycle.snapshot.exists
        if spread.honor_affinity:
            found = found & accepted_mask(cycle)
        if spread.honor_taints:
            found = found & cycle.kept(self.name + "/taints", lambda: _tolerated(cycle))
        return found


class _Evenness:
    """Counts per domain of the hard constraints, less what has left the node."""

    def __init__(self, cycle: Cycle, hard: Sequence[tuple[_Hard, Mask]]) -> None:
        """Each with the nodes that count."""
        self._tallies = cycle.snapshot.tallies
        self._hard = [(ready, counted, cycle.snapshot.column(ready.spread.topology_key).ids) for ready, counted in hard]
        self._slot = 0
        self._gone: list[int] = []

    def enter(self, node: Node) -> None:
        self._slot = node.slot
        self._gone = [0] * len(self._hard)

    def change(self, pod: Pod, sign: int) -> None:
        if pod.deleting:
            return
        for index, (ready, counted, _) in enumerate(self._hard):
            if counted[self._slot] and self._tallies.selects(ready.spread.selector, pod.labels, pod.namespace):
                self._gone[index] -= sign

    def reasons(self) -> Sequence[Reason]:
        for (ready, _, ids), gone in zip(self._hard, self._gone, strict=True):
            domain = ids[self._slot]
            if domain < 0:
                return (Reason(NO_LABEL, False),)
            here = ready.counts[domain] - gone
            least = min(ready.least, here) if gone else ready.least  # where something left, the domain is one of those that count
            if here + ready.itself - least > ready.spread.max_skew:
                return (Reason(UNEVEN),)
        return ()


def _tolerated(cycle: Cycle) -> Mask:
    snapshot = cycle.snapshot
    good = np.array([scheduling.untolerated_taint(taints, cycle.template.tolerations) is None for taints in snapshot.taint_sets])
    found: Mask = good[snapshot.taint_ids]
    return found


def _counts_node(cycle: Cycle, spread: Spread, node: Node) -> bool:
    if spread.honor_affinity and not accepts(cycle.template, node):
        return False
    return not spread.honor_taints or scheduling.untolerated_taint(node.taints, cycle.template.tolerations) is None


def _matching(snapshot: Snapshot, spread: Spread, node: Node) -> int:
    """Living pods on the node that the constraint selects."""

    def matches(pod: Pod) -> bool:
        return not pod.deleting and snapshot.tallies.selects(spread.selector, pod.labels, pod.namespace)

    return sum(1 for pod in node.pods.values() if matches(pod))
