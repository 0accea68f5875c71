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
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """`limit` is a quantity or a percentage; a soft one (`grace` not None) must have been met for `grace` seconds."""

    signal: str
    limit: str
    grace: float | None = None
    reclaim: str = ""
    """How much beyond the limit must be free before it counts as not met any more."""

    def quantity(self, capacity: int, *, still: bool = False) -> int:
        return _quantity(self.limit, capacity) + (_quantity(self.reclaim, capacity) if still and self.reclaim else 0)


def _quantity(text: str, capacity: int) -> int:
    return int(capacity * float(text[:-1]) / 100) if text.endswith("%") else amount("memory", text)


def thresholds(hard: Mapping[str, str], soft: Mapping[str, str], grace: Mapping[str, float], reclaim: Mapping[str, str]) -> list[Threshold]:
    """All thresholds, memory first, hard before soft. Raises ValueError for a soft one without a grace period."""
    missing = sorted(set(soft) - set(grace))
    if missing:
        raise ValueError(f"grace period must be specified for the soft eviction threshold {missing[0]}")
    found = [Threshold(signal, limit, None, reclaim.get(signal, "")) for signal, limit in hard.items() if limit not in ("0%", "100%")]
    found += [Threshold(signal, limit, grace[signal], reclaim.get(signal, "")) for signal, limit in soft.items()]
    return sorted(found, key=lambda item: (item.signal != "memory.available", item.signal, item.grace is not None))


class Watcher:
    """Since when each threshold has been met, and until when its condition is shown. No clock of its own."""

    def __init__(self, thresholds: Sequence[Threshold], hold: float) -> None:
        self._thresholds = thresholds
        self._hold = hold
        self._since: dict[Threshold, float] = {}
        self._until: dict[str, float] = {}

    def observe(self, observed: Mapping[str, Observation], now: float) -> list[Crossed]:
        """What must be acted on now: hard thresholds that are met, and soft ones that have been met long enough."""
        due = []
        for item in self._thresholds:
            seen = observed.get(item.signal)
            if seen is None or seen.capacity == 0 or seen.available >= item.quantity(seen.capacity, still=item in self._since):
                self._since.pop(item, None)
                continue
            since = self._since.setdefault(item, now)
            self._until[CONDITIONS[item.signal]] = now + self._hold
            if now - since >= (item.grace or 0.0):
                due.append(Crossed(item.signal, item.quantity(seen.capacity), seen.available, item.grace is not None))
        return due

    def pressures(self, now: float) -> frozenset[str]:
        return frozenset(kind for kind, until in self._until.items() if now < until)


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
    """The largest binary unit that leaves no fraction, as quantities are written everywhere."""
    unit = ""
    for larger in ("Ki", "Mi", "Gi", "Ti"):
        if not value or value % 1024:
            break
        value, unit = value >> 10, larger
    return f"{value}{unit}"


def refused(pod: Object, pressures: frozenset[str]) -> tuple[str, str] | None:
    """Pods a node under pressure does not take (upstream's eviction admission)."""
    if not pressures or podspec.is_critical(pod):
        return None
    if pressures == {"MemoryPressure"} and podspec.qos_class(pod) != "BestEffort":
        return None
    return "Evicted", f"The node had condition: [{', '.join(sorted(pressures))}]. "
