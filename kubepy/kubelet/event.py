"""Events about pods and the node: recorded in the background, repeated ones counted, never more than the queue holds."""
from __future__ import annotations

import asyncio
from collections import OrderedDict

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import EVENTS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.client.interface import Client

log = get_logger("event")
_MAX_QUEUE, _MAX_KNOWN, _BURST, _REFILL = 1000, 4096, 25, 300.0


class Recorder:
    """Records core/v1 events as `component` on `host`. `event()` never waits; `run()` sends."""

    def __init__(self, client: Client, clock: Clock, component: str, host: str) -> None:
        self._client = client
        self._clock = clock
        self._source = {"component": component, "host": host}
        self._queue: asyncio.Queue[tuple[Object, tuple[str, ...]]] = asyncio.Queue(_MAX_QUEUE)
        self._known: OrderedDict[tuple[str, ...], tuple[str, str, int]] = OrderedDict()
        self._budget: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def pod(self, pod: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        metadata = pod["metadata"]
        reference = {"kind": "Pod", "namespace": metadata.get("namespace") or "default", "name": metadata["name"], "uid": metadata["uid"],
                     "apiVersion": "v1", "resourceVersion": metadata.get("resourceVersion", "")}
        if field_path:
            reference["fieldPath"] = field_path
        self.record(reference, kind, reason, message)

    def node(self, name: str, uid: str, kind: str, reason: str, message: str) -> None:
        self.record({"kind": "Node", "name": name, "uid": uid or name}, kind, reason, message)

    def record(self, reference: Object, kind: str, reason: str, message: str) -> None:
        message = message[:1024]
        log.v(2).info("Event occurred", object=f"{reference.get('namespace', '')}/{reference['name']}", reason=reason, type=kind, note=message)
        if not self._allowed(reference["uid"]):
            return
        now = self._clock.now()
        namespace = reference.get("namespace") or "default"
        obj: Object = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": f"{reference['name']}.{int(now * 1e9):x}",
                                                                          "namespace": namespace},
                       "involvedObject": reference, "reason": reason, "message": message, "source": dict(self._source), "type": kind,
                       "firstTimestamp": format_time(now), "lastTimestamp": format_time(now), "count": 1,
                       "reportingComponent": self._source["component"], "reportingInstance": self._source["host"]}
        key = (namespace, reference["uid"], reference.get("fieldPath", ""), kind, reason, message)
        try:
            self._queue.put_nowait((obj, key))
        except asyncio.QueueFull:
            log.v(4).info("Event dropped: too many wait", reason=reason)

    def _allowed(self, uid: str) -> bool:
        """Upstream's spam filter: a burst of 25 for each object, one more every five minutes."""
        now = self._clock.monotonic()
        tokens, at = self._budget.pop(uid, (float(_BURST), now))
        tokens = min(float(_BURST), tokens + (now - at) / _REFILL)
        self._budget[uid] = (max(tokens - 1, 0.0), now)
        if len(self._budget) > _MAX_KNOWN:
            self._budget.popitem(last=False)
        return tokens >= 1

    async def run(self) -> None:
        while True:
            obj, key = await self._queue.get()
            try:
                await self._send(obj, key)
            except ApiError as error:
                log.v(2).info("Event refused", reason=obj["reason"], err=error)
            except ConnectionError as error:
                log.v(2).info("Event not sent", reason=obj["reason"], err=error)
                await self._clock.sleep(1.0)

    async def _send(self, obj: Object, key: tuple[str, ...]) -> None:
        known = self._known.get(key)
        namespace = obj["metadata"]["namespace"]
        if known is not None:
            name, first, count = known
            try:
                await self._client.patch(EVENTS, name, {"count": count + 1, "lastTimestamp": obj["lastTimestamp"]}, namespace,
                                         type="strategic")
            except NotFound:
                pass
            else:
                self._known[key] = (name, first, count + 1)
                return
        await self._client.create(EVENTS, obj, namespace)
        self._known[key] = (obj["metadata"]["name"], obj["firstTimestamp"], 1)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
