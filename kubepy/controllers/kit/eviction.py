"""How controllers end a pod that may not stay: when taints want it gone, and that the pod's status says why before it is deleted."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from kubepy.api.errors import NotFound
from kubepy.api.resource import PODS
from kubepy.api.scheduling import tolerates
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.client.interface import Client
from kubepy.controllers.kit import condition


def leave_at(tolerations: Sequence[Object], taints: Iterable[Object], began: float = 0.0) -> float | None:
    """When who has these tolerations must go, in epoch seconds (0: a taint is not tolerated, so now); None for never.

    The time of a toleration runs from when its taint was added, or from `began` if that was later. `taints` are those that evict."""
    moment = inf
    for taint in taints:
        fitting = [item for item in tolerations if tolerates(item, taint)]
        if not fitting:
            return 0.0
        limits = [max(float(item["tolerationSeconds"]), 0.0) for item in fitting if item.get("tolerationSeconds") is not None]
        if limits:
            added = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else 0.0
            moment = min(moment, max(added, began) + min(limits))
    return None if moment == inf else moment


async def tell(client: Client, pod: Object, reason: str, message: str, now: float, *, phase: str = "") -> None:
    """Sets DisruptionTarget (and the phase) of exactly this pod as it was seen. Raises Conflict when it has changed, NotFound when gone."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    target = condition.build("DisruptionTarget", "True", reason, message, format_time(now))
    change: Object = {"conditions": condition.merge(status.get("conditions") or (), target)}
    if phase:
        change["phase"] = phase
    patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}, "status": change}
    await client.patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")


async def evict(client: Client, pod: Object, reason: str, message: str, now: float) -> bool:
    """Tells and deletes the pod; False when it is gone. Raises Conflict when it has changed."""
    metadata = pod["metadata"]
    try:
        await tell(client, pod, reason, message, now)
        await client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    except NotFound:
        return False
    return True
