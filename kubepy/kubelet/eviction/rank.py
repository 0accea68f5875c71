"""Which threshold is crossed and who has to go: pure (upstream's `eviction/helpers.go`)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubepy.api.scheduling import amount, pod_requests
from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec

RESOURCES = {"memory.available": "memory", "nodefs.available": "ephemeral-storage", "nodefs.inodesFree": "inodes",
             "imagefs.available": "ephemeral-storage", "imagefs.inodesFree": "inodes", "pid.available": "pids"}
CONDITIONS = {"memory.available": "MemoryPressure", "nodefs.available": "DiskPressure", "nodefs.inodesFree": "DiskPressure",
              "imagefs.available": "DiskPressure", "imagefs.inodesFree": "DiskPressure", "pid.available": "PIDPressure"}


@dataclass(frozen=True, slots=True)
class Observation:
    """One signal: what is available of how much."""

    available: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Crossed:
    signal: str
    threshold: int
    available: int


def crossed(thresholds: Mapping[str, str], observed: Mapping[str, Observation]) -> list[Crossed]:
    """The thresholds that are met, memory first."""
    result = []
    for signal, text in sorted(thresholds.items(), key=lambda item: (item[0] != "memory.available", item[0])):
        seen = observed.get(signal)
        if seen is None or seen.capacity == 0:
            continue
        limit = int(seen.capacity * float(text[:-1]) / 100) if text.endswith("%") else amount("memory", text)
        if seen.available < limit:
            result.append(Crossed(signal, limit, seen.available))
    return result


def rank(pods: Sequence[Object], usage: Mapping[str, Mapping[str, int]], resource: str) -> list[Object]:
    """The pods that may be evicted, the first to go first: those beyond their requests, low priority, most beyond."""
    def over(pod: Object) -> int:
        return usage.get(podspec.uid_of(pod), {}).get(resource, 0) - pod_requests(pod).get(resource, 0)

    candidates = [pod for pod in pods if not podspec.is_critical(pod)]
    return sorted(candidates, key=lambda pod: (over(pod) <= 0, int(pod["spec"].get("priority") or 0), -over(pod)))


def message(pod: Object, found: Crossed, usage: Mapping[str, int]) -> str:
    """Upstream's words in the pod's status and event; `usage` is by container."""
    resource = RESOURCES[found.signal]
    text = f"The node was low on resource: {resource}. Threshold quantity: {quantity(found.threshold)}, " \
           f"available: {quantity(found.available)}. "
    for container in podspec.containers(pod):
        name = container["name"]
        request = ((container.get("resources") or {}).get("requests") or {}).get(resource, "0")
        if name in usage and usage[name] > amount(resource, request):
            text += f"Container {name} was using {quantity(usage[name])}, request is {request}, has larger consumption of {resource}. "
    return text


def quantity(value: int) -> str:
    return f"{value >> 10}Ki" if value >= 1024 else str(value)


def refused(pod: Object, pressures: frozenset[str]) -> tuple[str, str] | None:
    """Pods a node under pressure does not take (upstream's eviction admission)."""
    if not pressures or podspec.is_critical(pod):
        return None
    if pressures == {"MemoryPressure"} and podspec.qos_class(pod) != "BestEffort":
        return None
    return "Evicted", f"The node had condition: [{', '.join(sorted(pressures))}]. "
