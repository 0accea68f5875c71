"""Who is evicted, and when."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.kubelet.eviction.rank import Crossed, Observation, crossed, message, rank, refused
from tests.unit.kubelet.test_plan import container, pod

MI = 1 << 20


def named(name: str, request: str = "", **spec: Any) -> dict[str, Any]:
    made = pod(container(resources={"requests": {"memory": request}} if request else {}), **spec)
    made["metadata"] = {"name": name, "uid": name, "namespace": "default"}
    return made


@pytest.mark.parametrize(("thresholds", "expected"), [
    ({"memory.available": "100Mi"}, []), ({"memory.available": "300Mi"}, ["memory.available"]), ({"nodefs.available": "10%"}, []),
    ({"nodefs.available": "30%", "memory.available": "1Gi"}, ["memory.available", "nodefs.available"]), ({"pid.available": "10%"}, []),
], ids=["enough memory", "too little memory", "enough disk", "memory comes first", "a signal nobody measures"])
def test_thresholds(thresholds: dict[str, str], expected: list[str]) -> None:
    observed = {"memory.available": Observation(200 * MI, 1000 * MI), "nodefs.available": Observation(20, 100)}
    assert [item.signal for item in crossed(thresholds, observed)] == expected


def test_pods_beyond_their_requests_go_first_by_priority_then_by_how_far_beyond() -> None:
    pods = [named("within", "100Mi"), named("much"), named("little"), named("important", priority=100), named("critical",
                                                                                                              priority=2_000_000_001)]
    usage = {"within": {"memory": 50 * MI}, "much": {"memory": 80 * MI}, "little": {"memory": 10 * MI}, "important": {"memory": 500 * MI},
             "critical": {"memory": 900 * MI}}
    assert [entry["metadata"]["name"] for entry in rank(pods, usage, "memory")] == ["much", "little", "important", "within"]


def test_the_message_names_the_greedy_container() -> None:
    text = message(named("p"), Crossed("memory.available", 100 * MI, 50 * MI), {"c": 30 * MI})
    assert text == ("The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. "
                    "Container c was using 30720Ki, request is 0, has larger consumption of memory. ")


@pytest.mark.parametrize(("spec", "pressures", "taken"), [
    (named("p"), frozenset(), True), (named("p"), frozenset({"MemoryPressure"}), False),
    (named("p", "1Mi"), frozenset({"MemoryPressure"}), True), (named("p", "1Mi"), frozenset({"DiskPressure"}), False),
    (named("p", priority=2_000_000_001), frozenset({"DiskPressure"}), True),
], ids=["no pressure", "best effort without memory", "burstable without memory", "no disk", "a critical pod"])
def test_a_node_under_pressure_refuses(spec: dict[str, Any], pressures: frozenset[str], taken: bool) -> None:
    assert (refused(spec, pressures) is None) is taken
