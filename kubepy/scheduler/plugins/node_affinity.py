"""NodeAffinity: nodeSelector, required and preferred node affinity, and the profile's own addedAffinity.

A requirement is evaluated once per distinct value of its label. A pod whose every term names its node (DaemonSet pods) restricts
the search to those nodes before any filter runs, as upstream does."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.framework import Cycle, Event, Plugin, Reason, Refusal, Scores, Wake, normalised
from kubepy.scheduler.label import Mask
from kubepy.scheduler.pod import Pod, Template
from kubepy.scheduler.snapshot import Node, Snapshot

REASON = "node(s) didn't match Pod's node affinity/selector"
ENFORCED = "node(s) didn't match scheduler-enforced node affinity"


class NodeAffinity(Plugin):
    name = "NodeAffinity"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("Node", frozenset({"add", "label"}), self._accepts_now),)
        added = self.args.get("addedAffinity") or {}
        self._required: Object | None = added.get("requiredDuringSchedulingIgnoredDuringExecution")
        self._preferred = tuple(added.get("preferredDuringSchedulingIgnoredDuringExecution") or ())

    def node_names(self, cycle: Cycle) -> frozenset[str] | None:
        required = cycle.template.node_required
        if required is None:
            return None
        names: set[str] = set()
        for term in required.get("nodeSelectorTerms") or ():
            named = [set(f.get("values") or ()) for f in term.get("matchFields") or ()
                     if f.get("key") == "metadata.name" and f.get("operator") == "In"]
            if not named:
                return None
            names |= set.intersection(*named)
        return frozenset(names) if names else None

    def _accepts_now(self, pod: Pod, event: Event) -> bool:
        node = event.new
        if not isinstance(node, Node):
            return True
        return accepts(pod.template, node) and (
            self._required is None or scheduling.matches_node_selector(self._required, node.labels, node.name))

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        template = cycle.template
        if template.node_selector is None and template.node_required is None and self._required is None:
            return ()
        return cycle.kept(self.name, lambda: self._refusals(cycle))

    def _refusals(self, cycle: Cycle) -> list[Refusal]:
        snapshot, template = cycle.snapshot, cycle.template
        refusals: list[Refusal] = []
        enforced = np.zeros(snapshot.capacity, np.bool_)
        if self._required is not None:
            enforced = ~matching(snapshot, self._required)
            refusals.append(Refusal(enforced, ENFORCED, False))
        accepted = np.ones(snapshot.capacity, np.bool_)
        for key, value in (template.node_selector or {}).items():
            column = snapshot.column(key)
            accepted &= column.ids == column.number(value) if column.number(value) >= 0 else np.zeros_like(accepted)
        if template.node_required is not None:
            accepted &= matching(snapshot, template.node_required)
        refusals.append(Refusal(~accepted & ~enforced, REASON, False))
        return refusals

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        if self._required is not None and not scheduling.matches_node_selector(self._required, node.labels, node.name):
            return (Reason(ENFORCED, False),)
        if accepts(cycle.template, node):
            return ()
        return (Reason(REASON, False),)

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        preferred = (*self._preferred, *cycle.template.node_preferred)
        if not preferred:
            return None

        def make() -> Scores:
            total = np.zeros(cycle.snapshot.capacity, np.float64)
            for entry in preferred:
                total[_term_mask(cycle.snapshot, entry.get("preference") or {})] += entry.get("weight") or 0
            return total

        return normalised(cycle.kept(self.name + "/score", make), feasible)

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        preferred = (*self._preferred, *cycle.template.node_preferred)
        if not preferred:
            return None

        def raw(other: Node) -> int:
            return sum(int(entry.get("weight") or 0) for entry in preferred
                       if scheduling.matches_term(entry.get("preference") or {}, other.labels, other.name))

        top = max(raw(other) for other in feasible)
        return raw(node) * 100 // top if top else 0


def accepts(template: Template, node: Node) -> bool:
    """Whether the pod's own nodeSelector and required affinity accept a node."""
    if any(node.labels.get(key) != value for key, value in (template.node_selector or {}).items()):
        return False
    return template.node_required is None or scheduling.matches_node_selector(template.node_required, node.labels, node.name)


def accepted_mask(cycle: Cycle) -> Mask:
    """The same for all nodes: what topology spreading counts."""

    def make() -> Mask:
        snapshot, template = cycle.snapshot, cycle.template
        accepted = np.ones(snapshot.capacity, np.bool_)
        for key, value in (template.node_selector or {}).items():
            column = snapshot.column(key)
            number = column.number(value)
            accepted &= (column.ids == number) if number >= 0 else False
        if template.node_required is not None:
            accepted &= matching(snapshot, template.node_required)
        return accepted

    return cycle.kept("NodeAffinity/accepted", make)


def matching(snapshot: Snapshot, selector: Object) -> Mask:
    """The nodes a node selector accepts."""
    found = np.zeros(snapshot.capacity, np.bool_)
    for term in selector.get("nodeSelectorTerms") or ():
        found |= _term_mask(snapshot, term)
    return found


def _term_mask(snapshot: Snapshot, term: Object) -> Mask:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    found = np.full(snapshot.capacity, bool(expressions or fields), np.bool_)
    for requirement in expressions:
        found &= snapshot.column(requirement.get("key", "")).mask(_accepts(requirement))
    for requirement in fields:
        known = requirement.get("key") == "metadata.name"
        found &= np.fromiter((known and scheduling.value_matches(requirement, name) for name in snapshot.names), np.bool_,
                             snapshot.capacity)
    return found


def _accepts(requirement: Object) -> Callable[[str | None], bool]:
    return lambda value: scheduling.value_matches(requirement, value)
