"""Carries out a preemption: the victims are told why and deleted; pods of lower priority that waited for the same node look again."""
from __future__ import annotations

import asyncio

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.scheduler import metric
from kubepy.scheduler.failure import about
from kubepy.scheduler.framework import Handle
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.preemption import Candidate

log = get_logger("preemption")


async def evict(handle: Handle, preemptor: Pod, candidate: Candidate) -> None:
    """Raises ApiError or ConnectionError when a victim cannot be deleted."""
    metric.VICTIMS.observe(len(candidate.victims))
    await asyncio.gather(*(_evict(handle, preemptor, victim, candidate.node) for victim in candidate.victims))


async def _evict(handle: Handle, preemptor: Pod, victim: Pod, node: str) -> None:
    if victim.deleting or handle.waiting.reject(victim.uid, "DefaultPreemption", "preempted"):
        return  # it is going, or was only about to be bound
    condition: Object = {
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": f"{preemptor.scheduler}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": format_time(handle.clock.now()),
    }
    try:
        await handle.client.patch(PODS, victim.name, {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}},
                                  victim.namespace, type="strategic", subresource="status")
        await handle.client.delete(PODS, victim.name, victim.namespace, uid=victim.uid)
    except NotFound:
        return
    except ApiError as error:
        if error.code != 409:  # another pod of that name by now: the victim is gone
            raise
        return
    log.info("Preempted", victim=victim.key, preemptor=preemptor.key, node=node)
    handle.recorder.event(about(victim), "Normal", "Preempted", f"Preempted by pod {preemptor.uid} on node {node}", action="Preempting",
                          related=about(preemptor), component=preemptor.scheduler)
