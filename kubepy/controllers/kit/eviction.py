"""How a taint controller ends a pod: the pod's status says why before it is deleted."""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.interface import Client
from kubepy.controllers.kit import condition


async def evict(client: Client, pod: Object, reason: str, message: str, now: float) -> bool:
    """Sets DisruptionTarget and deletes exactly this pod as it was seen; False when it is gone. Raises Conflict when it has changed."""
    metadata = pod["metadata"]
    target = condition.build("DisruptionTarget", "True", reason, message, format_time(now))
    found = condition.merge((pod.get("status") or {}).get("conditions") or (), target)
    patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}, "status": {"conditions": found}}
    try:
        await client.patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
        await client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
    except NotFound:
        return False
    return True
