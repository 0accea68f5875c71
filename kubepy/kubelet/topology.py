"""Which NUMA nodes a container's CPUs and devices shall be on: everybody's hints merged as the policy says. Pure.

Follows upstream's topology manager.
Scope is the container, or the pod: then all its containers get the nodes that fit them together.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Policy = Literal["none", "best-effort", "restricted", "single-numa-node"]
CLOSEST, MOST_NODES = "prefer-closest-numa-nodes", "max-allowable-numa-nodes"
MAX_NODES = 8
"""Every set of nodes is looked at: with more than these that takes too long."""
Distances = Mapping[int, Sequence[int]]
"""How far each NUMA node is from each other, as the firmware says."""
POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
REFUSAL = ("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


class AllocationError(Exception):
    """What a container asks for cannot be given; `reason` is the pod's, "" makes the message part of an UnexpectedAdmissionError."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Hint:
    """These NUMA nodes would do; None: whichever. `preferred` when no fewer could."""

    nodes: frozenset[int] | None
    preferred: bool


Hints = Mapping[str, Sequence[Hint] | None]
"""One provider's, by resource: None has no opinion, an empty list could not be satisfied."""
ANY = Hint(None, True)


def subsets(nodes: Iterable[int]) -> Iterable[frozenset[int]]:
    """Every non-empty set of them, smaller ones first."""
    ordered = sorted(nodes)
    for size in range(1, len(ordered) + 1):
        for chosen in itertools.combinations(ordered, size):
            yield frozenset(chosen)


def hints_of(nodes: frozenset[int], total: Mapping[int, int], free: Mapping[int, int], wanted: int) -> list[Hint]:
    """Sets of nodes whose free units are enough; preferred are those of the size that an empty machine would need."""
    minimum, found = len(nodes), []
    for chosen in subsets(nodes):
        if sum(total.get(node, 0) for node in chosen) >= wanted:
            minimum = min(minimum, len(chosen))
        if sum(free.get(node, 0) for node in chosen) >= wanted:
            found.append(chosen)
    return [Hint(chosen, len(chosen) == minimum) for chosen in found]


def topology_problems(options: Mapping[str, str]) -> list[str]:
    """What is wrong with the policy's options."""
    found = [f'unknown Topology Manager Policy option: "{name}"' for name in options if name not in (CLOSEST, MOST_NODES)]
    if (value := options.get(CLOSEST)) is not None and value not in ("true", "false"):
        found.append(f'bad value for option "{CLOSEST}": strconv.ParseBool: parsing "{value}": invalid syntax')
    if (value := options.get(MOST_NODES)) is not None:
        if not value.isdigit():
            found.append(f'unable to convert policy option to integer "{MOST_NODES}": strconv.Atoi: parsing "{value}": invalid syntax')
        elif int(value) < MAX_NODES:
            found.append(f'the minimum value of "{MOST_NODES}" should not be less than {MAX_NODES}')
    return found


def closer(one: frozenset[int], other: frozenset[int], distances: Distances) -> bool:
    """Whether the nodes of the one are on average nearer to each other than those of the other."""
    def average(nodes: frozenset[int]) -> float:
        spans = [distances[start][end] for start in nodes for end in nodes if start in distances and end < len(distances[start])]
        return sum(spans) / len(spans) if spans else 0.0

    return average(one) < average(other)


def merge(policy: Policy, nodes: frozenset[int], providers: Sequence[Hints],
          distances: Distances = MappingProxyType({})) -> tuple[Hint, bool]:
    """The best hint for all, and whether the policy admits it. With `distances`, of as many nodes those nearest to each other."""
    if policy == "none":
        return ANY, True
    lists: list[list[Hint]] = []
    for provider in providers:
        for hints in provider.values():
            lists.append([ANY] if hints is None else list(hints) or [Hint(None, False)])
    if policy == "single-numa-node":
        lists = [[hint for hint in hints if hint.preferred and (hint.nodes is None or len(hint.nodes) == 1)] for hints in lists]
    best = Hint(nodes, False)
    for combination in itertools.product(*lists):
        common = nodes
        for hint in combination:
            common = common if hint.nodes is None else common & hint.nodes
        if common:
            found = Hint(common, all(hint.preferred for hint in combination))
            if _better(found, best, distances):
                best = found
    if policy == "single-numa-node" and best.nodes == nodes:
        best = Hint(None, best.preferred)
    return best, policy == "best-effort" or best.preferred


def _better(one: Hint, other: Hint, distances: Distances) -> bool:
    if one.preferred != other.preferred:
        return one.preferred
    mine, theirs = one.nodes or frozenset(), other.nodes or frozenset()
    if distances and len(mine) == len(theirs) and closer(mine, theirs, distances) != closer(theirs, mine, distances):
        return closer(mine, theirs, distances)
    return (len(mine), sorted(mine)) < (len(theirs), sorted(theirs))
