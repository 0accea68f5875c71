"""Room for critical pods: which of the node's pods must end so that one that has to run here can (upstream's preemption). Pure."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubepy.api.scheduling import amounts, pod_requests
from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec

REASON = ("Preempting", "Preempted in order to admit critical pod")


def preemptable(preemptor: Object, pod: Object) -> bool:
    if podspec.is_critical(preemptor) and not podspec.is_critical(pod):
        return True
    return int(preemptor["spec"].get("priority") or 0) > int(pod["spec"].get("priority") or 0)


def plan_preemption(pod: Object, others: Sequence[Object], allocatable: Mapping[str, str]) -> list[Object] | None:
    """The fewest and least important pods whose end makes room; None when even all of them would not do.

    Pods of a better quality of service are taken only for what the lesser ones cannot free."""
    free = amounts(allocatable)
    used = _sum(others)
    wanted = {name: value for name, value in {**pod_requests(pod), "pods": 1}.items() if value and name in free}
    short = {name: value + used.get(name, 0) - free[name] for name, value in wanted.items() if value + used.get(name, 0) > free[name]}
    classes: dict[str, list[Object]] = {"Guaranteed": [], "Burstable": [], "BestEffort": []}
    for other in others:
        if preemptable(pod, other):
            classes[podspec.qos_class(other)].append(other)
    chosen: list[Object] = []
    lesser = ["Guaranteed", "Burstable", "BestEffort"]
    while lesser:
        members = classes[lesser.pop(0)]
        elsewhere = _sum([*chosen, *(other for name in lesser for other in classes[name])])
        chosen += _fewest(members, {name: value - elsewhere.get(name, 0) for name, value in short.items()})
    freed = _sum(chosen)
    return chosen if all(freed.get(name, 0) >= value for name, value in short.items()) else None


def _sum(pods: Sequence[Object]) -> dict[str, int]:
    total = {"pods": len(pods)}
    for pod in pods:
        for name, value in pod_requests(pod).items():
            total[name] = total.get(name, 0) + value
    return total


def _fewest(candidates: Sequence[Object], short: Mapping[str, int]) -> list[Object]:
    """One after the other those that come nearest to what is short; the least important and the smallest of equals."""
    left = {name: value for name, value in short.items() if value > 0}
    pool, chosen = list(candidates), []
    while left and pool:
        def distance(pod: Object, left: Mapping[str, int] = left) -> tuple[float, int, int]:
            frees = _sum([pod])
            missing = sum((max(0, value - frees.get(name, 0)) / value) ** 2 for name, value in left.items())
            return missing, int(pod["spec"].get("priority") or 0), sum(frees.get(name, 0) for name in left)

        best = min(pool, key=distance)
        pool.remove(best)
        chosen.append(best)
        frees = _sum([best])
        left = {name: value - frees.get(name, 0) for name, value in left.items() if value > frees.get(name, 0)}
    return chosen
