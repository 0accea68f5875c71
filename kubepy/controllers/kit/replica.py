"""Replicas: which pods count, and which go first when there are too many (`controller.ActivePodsWithRanks`)."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kubepy.api.pod import condition, is_ready, node_name, phase, restarts
from kubepy.api.types import Object
from kubepy.base.clock import parse_time

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def victims(pods: Sequence[Object], count: int, ranks: Mapping[str, int], now: float) -> list[Object]:
    """The `count` pods to delete first. `ranks` says, by UID, how many related pods share the pod's node."""
    if count >= len(pods):
        return list(pods)
    return sorted(pods, key=lambda pod: _order(pod, ranks.get(pod["metadata"]["uid"], 0), now))[:count]


def ranks(pods: Sequence[Object], related: Sequence[Object]) -> dict[str, int]:
    """For each pod how many active related pods are on its node: crowded nodes are relieved first."""
    crowd: dict[str, int] = {}
    for pod in related:
        if not (pod["metadata"].get("deletionTimestamp") or phase(pod) in ("Succeeded", "Failed")):
            crowd[node_name(pod)] = crowd.get(node_name(pod), 0) + 1
    return {pod["metadata"]["uid"]: crowd.get(node_name(pod), 0) for pod in pods}


def _order(pod: Object, rank: int, now: float) -> tuple[object, ...]:
    metadata = pod["metadata"]
    ready = is_ready(pod)
    ready_since = (condition(pod, "Ready") or {}).get("lastTransitionTime") if ready else None
    return (
        bool(node_name(pod)),
        _PHASES.get(phase(pod), 1),
        ready,
        _cost(metadata),
        -rank,
        _age_rank(ready_since, now) if ready else 0,
        -restarts(pod),
        _age_rank(metadata.get("creationTimestamp"), now),
        metadata["uid"],
    )


def _age_rank(time: str | None, now: float) -> int:
    """Younger first, by orders of magnitude: within one the choice is arbitrary, so that no generation is wiped out."""
    if not time:
        return 0
    return int(math.log2(max(now - parse_time(time), 1)))


def _cost(metadata: Object) -> int:
    text = (metadata.get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0
