"""Says why a pod was not placed: the FailedScheduling event and the PodScheduled condition, in upstream's words.

Conditions are written by tasks in the background, at most `parallelism` at a time, and only where they say something new."""
from __future__ import annotations

import asyncio
from typing import Any

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import ActionRecorder
from kubepy.client.interface import Client
from kubepy.scheduler.pod import Pod

log = get_logger("failure")
UNSCHEDULABLE, ERROR = "Unschedulable", "SchedulerError"
NOTE_LIMIT = 1024
"""The longest note of an event; upstream cuts it with dots."""


class Reporter:
    def __init__(self, client: Client, recorder: ActionRecorder, clock: Clock, tasks: Tasks, at_once: int) -> None:
        self._client, self._recorder, self._clock, self._tasks = client, recorder, clock, tasks
        self._at_once = asyncio.Semaphore(at_once)

    def failed(self, pod: Pod, reason: str, message: str, nominated: str | None = None) -> None:
        """Records the event and writes the condition in the background. `nominated`: the node to nominate, "" to take a nomination
        back, None to leave it."""
        self._recorder.event(about(pod), "Warning", "FailedScheduling", cut(message), action="Scheduling", component=pod.scheduler)
        self._tasks.start(self._write(pod, reason, message, nominated), "report")

    async def nominate(self, pod: Pod, node: str) -> None:
        """Says where a pod is going to be bound, when that will take a while; it does not matter if it cannot be said."""
        try:
            await self._client.patch(PODS, pod.name, {"metadata": {"uid": pod.uid}, "status": {"nominatedNodeName": node}}, pod.namespace,
                                     subresource="status")
        except (ApiError, ConnectionError) as error:
            log.v(2).info("Cannot write the nominated node", pod=pod.key, node=node, err=error)

    async def _write(self, pod: Pod, reason: str, message: str, nominated: str | None) -> None:
        status = (pod.raw or {}).get("status") or {}
        old: Object = next((c for c in status.get("conditions") or () if c.get("type") == "PodScheduled"), {})
        same = (old.get("status"), old.get("reason"), old.get("message")) == ("False", reason, message)
        if same and (nominated is None or (nominated and nominated == status.get("nominatedNodeName"))):
            return
        now = format_time(self._clock.now())
        moved = now if old.get("status") != "False" else old.get("lastTransitionTime") or now
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastProbeTime": None,
                             "lastTransitionTime": moved}
        generation = ((pod.raw or {}).get("metadata") or {}).get("generation")
        if generation:
            condition["observedGeneration"] = generation
        change: dict[str, Any] = {"conditions": [condition]}
        if nominated is not None:
            change["nominatedNodeName"] = nominated or None
        async with self._at_once:
            try:
                await self._client.patch(PODS, pod.name, {"metadata": {"uid": pod.uid}, "status": change}, pod.namespace, type="strategic",
                                         subresource="status")
            except (NotFound, Conflict):
                return  # it is gone
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot write the pod's condition", pod=pod.key, err=error)


def about(pod: Pod) -> Object:
    """What events refer to."""
    version = ((pod.raw or {}).get("metadata") or {}).get("resourceVersion", "")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
                                                           "resourceVersion": version}}


def cut(message: str) -> str:
    """No longer than an event's note may be."""
    return message if len(message) < NOTE_LIMIT else message[:NOTE_LIMIT - len(" ...")] + " ..."
