"""How fast the nodes of a zone may be evicted: when much of a zone is silent, the fault is likely ours. Pure."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.controllers.node.health import readiness

NORMAL, PARTIAL, FULL = "Normal", "PartialDisruption", "FullDisruption"


def zone_of(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    region, zone = labels.get("topology.kubernetes.io/region", ""), labels.get("topology.kubernetes.io/zone", "")
    return f"{region}:\0:{zone}" if region or zone else ""


def state(nodes: Iterable[Object], threshold: float) -> str:
    """Full when no node is ready, partial when at least `threshold` of them (and more than two) are not."""
    ready = silent = 0
    for node in nodes:
        if readiness(node) == "True":
            ready += 1
        else:
            silent += 1
    if silent and not ready:
        return FULL
    return PARTIAL if silent > 2 and silent / (silent + ready) >= threshold else NORMAL


def rates(states: Mapping[str, str], sizes: Mapping[str, int], normal: float, secondary: float, large: int) -> dict[str, float]:
    """Evictions a second by zone; all zones down means that nothing is evicted."""
    if states and all(value == FULL for value in states.values()):
        return dict.fromkeys(states, 0.0)
    found = {}
    for zone, value in states.items():
        if value == PARTIAL:
            found[zone] = secondary if sizes.get(zone, 0) > large else 0.0
        else:
            found[zone] = normal
    return found


@dataclass(slots=True)
class Bucket:
    """One eviction at once, then so many a second."""

    tokens: float
    at: float

    def take(self, rate: float, now: float) -> bool:
        self.tokens = min(1.0, self.tokens + (now - self.at) * rate)
        self.at = now
        if rate <= 0 or self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
