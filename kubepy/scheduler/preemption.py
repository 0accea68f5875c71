"""DefaultPreemption: which pods of lower priority would have to go so that a pod fits somewhere. Pure: it tries on the snapshot what it
would be like without them and puts everything back.

Follows upstream: only nodes where the refusal could be helped; victims are spared again in order of importance, those whose disruption
budget would be violated first; of the candidate nodes the one that hurts least (fewest violations, lowest highest priority, lowest sum
of priorities, fewest victims, victims that started last). At most a tenth of the nodes (no less than 100) are tried.
"""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kubepy.api import scheduling
from kubepy.api.types import Object
from kubepy.scheduler.cycle import reasons_at, rivals_counted
from kubepy.scheduler.framework import Cycle, Lens, Profile, Reason, Unfit, histogram
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node, Snapshot

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."
MIN_CANDIDATES, SHARE = 100, 10
_INT32 = 1 << 31


@dataclass(slots=True)
class Candidate:
    """A node and who must leave it, most important first."""

    node: str
    victims: list[Pod]
    violations: int = 0


@dataclass(slots=True)
class Outcome:
    """`chosen` of the candidates, or why preemption does not help."""

    chosen: Candidate | None = None
    message: str = ""
    candidates: list[Candidate] = field(default_factory=list)
    lower_nominated: list[Pod] = field(default_factory=list)
    """Pods of lower priority that were nominated to the chosen node: they must look again."""


@dataclass(slots=True)
class Budget:
    """A PodDisruptionBudget."""

    namespace: str
    selector: Object
    allowed: int
    disrupted: frozenset[str] = frozenset()


def plan_preemption(pod: Pod, snapshot: Snapshot, profile: Profile, unfit: Unfit, budgets: Sequence[Budget], rng: random.Random,
                    *, fewest: int = MIN_CANDIDATES, share: float = 100 / SHARE) -> Outcome:
    """`share` (percent of the nodes) and `fewest` bound how many candidates are looked for."""
    if not pod.preemptor:
        return Outcome(message=NEVER)
    if pod.nominated and (node := snapshot.nodes.get(pod.nominated)) is not None \
            and any(other.deleting and other.priority < pod.priority for other in node.pods.values()):
        return Outcome(message=TERMINATING)
    total = len(snapshot)
    possible = np.flatnonzero(unfit.resolvable) if unfit.resolvable is not None else np.zeros(0, np.int64)
    counts: Counter[str] = Counter()
    if total > len(possible):
        counts[NOT_HELPFUL] = total - len(possible)
    wanted = max(1, fewest, int(total * share / 100))
    first = rng.randrange(len(possible)) if len(possible) else 0
    candidates: list[Candidate] = []
    with rivals_counted(snapshot, pod):
        trial = Trial(pod, snapshot, profile) if len(possible) else None
        for index in range(len(possible)):
            place = snapshot.slots[int(possible[(first + index) % len(possible)])]
            if place is None or trial is None:
                continue
            found = _victims(trial, place, budgets)
            if isinstance(found, Candidate):
                candidates.append(found)
                if len(candidates) >= wanted:
                    break
            else:
                for text in {reason.text for reason in found}:
                    counts[text] += 1
    if not candidates:
        text = f"0/{total} nodes are available:"
        return Outcome(message=f"{text} {histogram(counts)}." if counts else text)
    return choose(pod, snapshot, candidates)


def choose(pod: Pod, snapshot: Snapshot, candidates: Sequence[Candidate]) -> Outcome:
    """The candidate that hurts least; there must be one."""
    chosen = min(candidates, key=_harm)
    lower = [other for other, node in snapshot.nominated.values()
             if node == chosen.node and other.priority < pod.priority and other.key != pod.key]
    return Outcome(chosen, candidates=list(candidates), lower_nominated=lower)


class Trial:
    """What if some pods were gone from a node? Filters that no pod's departure changes are asked once for all nodes; the others look at one
    node after another through their lenses or, if one of them has none, at a snapshot from which pods are lifted."""

    def __init__(self, pod: Pod, snapshot: Snapshot, profile: Profile, *, through_lenses: bool = True) -> None:
        self.pod = pod
        cycle = Cycle(pod, snapshot)
        for plugin in profile.points["preFilter"]:
            plugin.pre_filter(cycle)
        self._fixed = [refusal for plugin in profile.filters if not plugin.concerns(cycle) for refusal in plugin.filter(cycle)]
        asked = [plugin for plugin in profile.filters if plugin.concerns(cycle)]
        lenses = [lens for plugin in asked if (lens := plugin.lens(cycle)) is not None] if through_lenses else []
        self.lens: Lens = _All(lenses) if len(lenses) == len(asked) else _Lifting(pod, snapshot, replace(profile, points={
            "preFilter": [plugin for plugin in profile.points["preFilter"] if plugin in asked], "filter": asked}))

    def refused(self, node: Node) -> Sequence[Reason]:
        """Why the node is out of the question, whoever leaves it."""
        return [Reason(refusal.reason, refusal.resolvable) for refusal in self._fixed if refusal.nodes[node.slot]][:1]


class _All:
    """Several lenses at once: the first that refuses says why."""

    def __init__(self, lenses: Sequence[Lens]) -> None:
        self._lenses = lenses

    def enter(self, node: Node) -> None:
        for lens in self._lenses:
            lens.enter(node)

    def change(self, pod: Pod, sign: int) -> None:
        for lens in self._lenses:
            lens.change(pod, sign)

    def reasons(self) -> Sequence[Reason]:
        for lens in self._lenses:
            if reasons := lens.reasons():
                return reasons
        return ()


class _Lifting:
    """Any filters: pods are lifted from the snapshot, and must come back before anybody else looks at it."""

    def __init__(self, pod: Pod, snapshot: Snapshot, profile: Profile) -> None:
        self._pod, self._snapshot, self._profile = pod, snapshot, profile
        self._node: Node | None = None

    def enter(self, node: Node) -> None:
        self._node = node

    def change(self, pod: Pod, sign: int) -> None:
        (self._snapshot.lift if sign < 0 else self._snapshot.put_back)(pod)

    def reasons(self) -> Sequence[Reason]:
        assert self._node is not None
        return reasons_at(Cycle(self._pod, self._snapshot), self._profile, self._node)


def _victims(trial: Trial, node: Node, budgets: Sequence[Budget]) -> Candidate | Sequence[Reason]:
    """The fewest, least important pods without which the pod fits on the node, or why it does not even without all lesser ones."""
    lens = trial.lens
    lesser = [other for other in node.pods.values() if other.priority < trial.pod.priority]
    if not lesser:
        return (Reason(NO_VICTIMS, False),)
    if refused := trial.refused(node):
        return refused
    lens.enter(node)
    for other in lesser:
        lens.change(other, -1)
    gone = set(lesser)
    try:
        if reasons := lens.reasons():
            return reasons
        lesser.sort(key=_importance)
        victims: list[Pod] = []
        violations = 0
        for group, counts in zip(_split(lesser, budgets), (True, False), strict=True):
            for other in group:
                lens.change(other, 1)
                gone.remove(other)
                if lens.reasons():
                    lens.change(other, -1)
                    gone.add(other)
                    victims.append(other)
                    violations += counts
        return Candidate(node.name, sorted(victims, key=_importance), violations)
    finally:
        for other in gone:
            lens.change(other, 1)


def _importance(pod: Pod) -> tuple[float, float, str]:
    """Sorts the more important first: higher priority, then started earlier (then by name, so that it is always the same)."""
    return (-pod.priority, pod.start_seconds(), pod.key)


def _split(pods: Sequence[Pod], budgets: Sequence[Budget]) -> tuple[list[Pod], list[Pod]]:
    """Those whose eviction some budget no longer allows, and the others."""
    if not budgets:
        return [], list(pods)
    left = [budget.allowed for budget in budgets]
    accepts = [scheduling.compile_selector(budget.selector) for budget in budgets]
    violating: list[Pod] = []
    others: list[Pod] = []
    for pod in pods:
        violated = False
        for index, budget in enumerate(budgets):
            if budget.namespace != pod.namespace or pod.name in budget.disrupted or not pod.labels or not accepts[index](pod.labels):
                continue
            left[index] -= 1
            violated = violated or left[index] < 0
        (violating if violated else others).append(pod)
    return violating, others


def _harm(candidate: Candidate) -> tuple[float, ...]:
    victims = candidate.victims
    if not victims:
        return (0, -_INT32, 0, 0, 0)
    top = victims[0].priority
    earliest = min(pod.start_seconds() for pod in victims if pod.priority == top)
    return (candidate.violations, top, sum(pod.priority + _INT32 for pod in victims), len(victims), -earliest)


def parse_budget(obj: Object) -> Budget:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    return Budget(metadata["namespace"], spec.get("selector") or {}, int(status.get("disruptionsAllowed") or 0),
                  frozenset(status.get("disruptedPods") or ()))
