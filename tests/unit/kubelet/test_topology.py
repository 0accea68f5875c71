"""NUMA nodes for CPUs and devices: which hints are merged to what, and whom the policies refuse."""
from __future__ import annotations

import pytest

from kubepy.kubelet.topology import Hint, Hints, Policy, hints_of, merge

NODES = frozenset({0, 1})


def hint(*nodes: int, preferred: bool = True) -> Hint:
    return Hint(frozenset(nodes), preferred)


FREE = [hint(0), hint(1), hint(0, 1, preferred=False)]
CASES: dict[str, tuple[Policy, list[Hints], Hint, bool]] = {
    "nobody cares": ("best-effort", [{}, {}], Hint(NODES, True), True),
    "none asks nobody": ("none", [{"cpu": [hint(1)]}], Hint(None, True), True),
    "the lower node of two that would do": ("restricted", [{"cpu": FREE}, {"dev": FREE}], hint(0), True),
    "where the device is": ("single-numa-node", [{"cpu": FREE}, {"dev": [hint(1), hint(0, 1, preferred=False)]}], hint(1), True),
    "CPUs here and the device there, best effort": ("best-effort", [{"cpu": [hint(0), hint(0, 1, preferred=False)]},
                                                                    {"dev": [hint(1), hint(0, 1, preferred=False)]}],
                                                    hint(0, preferred=False), True),
    "CPUs here and the device there, restricted": ("restricted", [{"cpu": [hint(0), hint(0, 1, preferred=False)]},
                                                                  {"dev": [hint(1), hint(0, 1, preferred=False)]}],
                                                   hint(0, preferred=False), False),
    "more CPUs than a node has, restricted": ("restricted", [{"cpu": [hint(0, 1)]}], hint(0, 1), True),
    "more CPUs than a node has, on one node": ("single-numa-node", [{"cpu": [hint(0, 1)]}], Hint(None, False), False),
    "not to be had at all": ("restricted", [{"dev": []}], Hint(NODES, False), False),
    "not to be had at all, best effort": ("best-effort", [{"dev": []}], Hint(NODES, False), True),
}


@pytest.mark.parametrize(("policy", "providers", "best", "admitted"), CASES.values(), ids=CASES.keys())
def test_merging(policy: Policy, providers: list[Hints], best: Hint, admitted: bool) -> None:
    assert merge(policy, NODES, providers) == (best, admitted)


def test_of_as_many_nodes_those_near_to_each_other_are_preferred() -> None:
    every = frozenset({0, 1, 2, 3})
    near = {0: [10, 30, 30, 30], 1: [30, 10, 30, 30], 2: [30, 30, 10, 20], 3: [30, 30, 20, 10]}
    hints = {"cpu": [hint(0, 1), hint(1, 2), hint(2, 3)]}
    assert merge("restricted", every, [hints]) == (hint(0, 1), True)
    assert merge("restricted", every, [hints], near) == (hint(2, 3), True)


@pytest.mark.parametrize(("free", "wanted", "expected"), [
    ({0: 4, 1: 4}, 2, FREE), ({0: 1, 1: 4}, 2, [hint(1), hint(0, 1, preferred=False)]),
    ({0: 2, 1: 2}, 4, [hint(0, 1, preferred=False)]), ({0: 4, 1: 4}, 6, [hint(0, 1)]), ({0: 1, 1: 1}, 3, []),
], ids=["either node", "only the other", "only both, though one would do when empty", "more than one node has", "too many"])
def test_hints(free: dict[int, int], wanted: int, expected: list[Hint]) -> None:
    assert hints_of(NODES, {0: 4, 1: 4}, free, wanted) == expected
