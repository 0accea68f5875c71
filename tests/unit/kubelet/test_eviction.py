"""Who is evicted, and when."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.kubelet.eviction.local import exceeded
from kubepy.kubelet.eviction.rank import Crossed, Observation, Watcher, message, rank, refused, thresholds
from tests.unit.kubelet.test_plan import container, pod

MI = 1 << 20


def named(name: str, request: str = "", **spec: Any) -> dict[str, Any]:
    made = pod(container(resources={"requests": {"memory": request}} if request else {}), **spec)
    made["metadata"] = {"name": name, "uid": name, "namespace": "default"}
    return made


@pytest.mark.parametrize(("limits", "expected"), [
    ({"memory.available": "100Mi"}, []), ({"memory.available": "300Mi"}, ["memory.available"]), ({"nodefs.available": "10%"}, []),
    ({"nodefs.available": "30%", "memory.available": "1Gi"}, ["memory.available", "nodefs.available"]), ({"pid.available": "10%"}, []),
], ids=["enough memory", "too little memory", "enough disk", "memory comes first", "a signal nobody measures"])
def test_hard_thresholds(limits: dict[str, str], expected: list[str]) -> None:
    observed = {"memory.available": Observation(200 * MI, 1000 * MI), "nodefs.available": Observation(20, 100)}
    assert [item.signal for item in Watcher(thresholds(limits, {}, {}, {}), 300).observe(observed, 0)] == expected


def test_a_soft_threshold_waits_for_its_grace_period_and_the_condition_outlasts_the_pressure() -> None:
    watcher = Watcher(thresholds({"memory.available": "100Mi"}, {"memory.available": "300Mi"}, {"memory.available": 60.0},
                                 {"memory.available": "50Mi"}), hold=300)

    def look(free: int, now: float) -> list[tuple[int, bool]]:
        return [(item.threshold // MI, item.soft) for item in watcher.observe({"memory.available": Observation(free * MI, 1000 * MI)}, now)]

    assert look(400, 0) == []
    assert watcher.pressures(0) == frozenset()
    assert look(200, 10) == []
    assert watcher.pressures(10) == {"MemoryPressure"}
    assert look(200, 69) == []
    assert look(200, 70) == [(300, True)]
    assert look(50, 71) == [(100, False), (300, True)], "the hard one needs no grace"
    assert look(320, 80) == [(300, True)], "still met until the minimum is reclaimed as well"
    assert look(360, 90) == []
    assert look(290, 100) == [], "and then it begins anew"
    assert look(400, 110) == []
    assert watcher.pressures(399) == {"MemoryPressure"}
    assert watcher.pressures(401) == frozenset()


def test_a_soft_threshold_without_a_grace_period_is_refused() -> None:
    with pytest.raises(ValueError, match="grace period must be specified"):
        thresholds({}, {"memory.available": "1Gi"}, {}, {})


def test_pods_beyond_their_requests_go_first_by_priority_then_by_how_far_beyond() -> None:
    pods = [named("within", "100Mi"), named("much"), named("little"), named("important", priority=100), named("critical",
                                                                                                              priority=2_000_000_001)]
    usage = {"within": {"memory": 50 * MI}, "much": {"memory": 80 * MI}, "little": {"memory": 10 * MI}, "important": {"memory": 500 * MI},
             "critical": {"memory": 900 * MI}}
    assert [entry["metadata"]["name"] for entry in rank(pods, usage, "memory")] == ["much", "little", "important", "within"]


def test_the_message_names_the_greedy_container() -> None:
    text = message(named("p"), Crossed("memory.available", 100 * MI, 50 * MI), {"c": 30 * MI})
    assert text == ("The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
                    "Container c was using 30Mi, request is 0, has larger consumption of memory. ")


@pytest.mark.parametrize(("spec", "pressures", "taken"), [
    (named("p"), frozenset(), True), (named("p"), frozenset({"MemoryPressure"}), False),
    (named("p", "1Mi"), frozenset({"MemoryPressure"}), True), (named("p", "1Mi"), frozenset({"DiskPressure"}), False),
    (named("p", priority=2_000_000_001), frozenset({"DiskPressure"}), True),
], ids=["no pressure", "best effort without memory", "burstable without memory", "no disk", "a critical pod"])
def test_a_node_under_pressure_refuses(spec: dict[str, Any], pressures: frozenset[str], taken: bool) -> None:
    assert (refused(spec, pressures) is None) is taken


def storage(limit: str, name: str = "c") -> dict[str, Any]:
    return container(name, resources={"limits": {"ephemeral-storage": limit}})


EMPTY = [{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}]


@pytest.mark.parametrize(("spec", "volumes", "containers", "text"), [
    (pod(volumes=EMPTY), {"e": 1 << 20}, {}, ""),
    (pod(volumes=EMPTY), {"e": (1 << 20) + 1}, {}, 'Usage of EmptyDir volume "e" exceeds the limit "1Mi". '),
    (pod(storage("1Mi"), container("d")), {}, {"c": 2 << 20}, 'Container c exceeded its local ephemeral storage limit "1Mi". '),
    (pod(storage("1Mi"), container("d")), {}, {"d": 2 << 20}, ""),
    (pod(storage("1Mi"), storage("1Mi", "d"), volumes=[{"name": "e", "emptyDir": {}}]), {"e": 2 << 20}, {"c": 1},
     "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "),
    (pod(volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}}]), {}, {}, ""),
], ids=["at the limit", "a volume beyond its limit", "a container beyond its limit", "a container without a limit",
        "all together beyond what they may have together", "memory is no storage"])
def test_who_has_outgrown_its_limits(spec: dict[str, Any], volumes: dict[str, int], containers: dict[str, int], text: str) -> None:
    assert exceeded(spec, volumes, containers) == text
