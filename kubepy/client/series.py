"""Events of events.k8s.io/v1 (`client-go/tools/events`), as the scheduler writes them: recording never waits and never fails its caller.

The same event again makes a series: the second time it is written, from then on it is counted and written every half hour, and once more
six minutes after the last time. Up to a thousand events wait to be written (more are dropped, as upstream), by several writers, so that
a burst of bindings keeps its events. A server without events.k8s.io gets none.
"""
from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import EVENTS_V1
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock, format_micro_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import QUEUE_SIZE, TRIES, TRY_INTERVAL, reference
from kubepy.client.interface import Client

log = get_logger("events")

WRITERS = 16
KEPT = 4096
FINISH_SECONDS, REFRESH_SECONDS = 360.0, 1800.0
NOTE_LIMIT = 1024


@dataclass(slots=True)
class _Series:
    """An event that was written, and how often it happened since."""

    name: str
    namespace: str
    last: float
    count: int = 1
    written: int = 1
    refreshed: float = 0.0


class SeriesRecorder:
    """`component` is who reports where an event does not say so (a profile's name); `start` it once."""

    def __init__(self, client: Client, component: str, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._component, self._host = component, host
        self._clock = clock or SystemClock()
        self._queue: asyncio.Queue[tuple[tuple[Any, ...], Object | None]] = asyncio.Queue(QUEUE_SIZE)
        self._known: OrderedDict[tuple[Any, ...], _Series] = OrderedDict()
        self._stamp = 0
        self.dropped = 0

    def start(self, tasks: Tasks) -> None:
        for number in range(WRITERS):
            tasks.keep(self._run, f"events-{number}")
        tasks.keep(self._finish, "event-series")

    def event(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str, *, field_path: str = "", action: str = "",
              related: Object | None = None, component: str = "") -> None:
        """`about` and `related` are objects or references to them."""
        now = self._clock.now()
        regarding, component = reference(about, field_path), component or self._component
        key = (component, type, reason, action, message, regarding.get("uid"), regarding.get("name"), regarding.get("namespace"))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            known.count += 1
            known.last = now
            if known.written == 1 and known.count == 2:
                self._put(key, None)
            return
        self._stamp = max(self._stamp + 1, int(now * 1e9))
        namespace = regarding.get("namespace") or "default"
        name = f"{regarding.get('name', '')}.{self._stamp:x}"
        event: Object = {
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "eventTime": format_micro_time(now), "reportingController": component,
            "reportingInstance": f"{component}-{self._host}" if self._host else component, "action": action or reason, "reason": reason,
            "regarding": regarding, "note": message[:NOTE_LIMIT], "type": type,
        }
        if related is not None:
            event["related"] = reference(related)
        if self._put(key, event):
            self._known[key] = _Series(name, namespace, now, refreshed=now)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)

    def _put(self, key: tuple[Any, ...], event: Object | None) -> bool:
        try:
            self._queue.put_nowait((key, event))
            return True
        except asyncio.QueueFull:
            self.dropped += 1
            log.warning("Event dropped: too many wait", reason=key[2], object=key[6])
            return False

    async def _run(self) -> None:
        while True:
            key, event = await self._queue.get()
            for _ in range(TRIES):
                try:
                    await (self._create(event) if event is not None else self._count(key))
                except ConnectionError as error:
                    log.v(2).info("Cannot write event, retrying", reason=key[2], err=error)
                    await self._clock.sleep(TRY_INTERVAL)
                    continue
                except ApiError as error:  # its namespace is going away, or the like: an event is not worth more
                    log.v(2).info("Event refused", reason=key[2], err=error)
                break

    async def _create(self, event: Object) -> None:
        try:
            await self._client.create(EVENTS_V1, event)
        except AlreadyExists:  # an attempt whose answer was lost
            return

    async def _count(self, key: tuple[Any, ...]) -> None:
        series = self._known.get(key)
        if series is None:
            return
        count = series.count
        try:
            await self._client.patch(EVENTS_V1, series.name, {"series": {
                "count": count, "lastObservedTime": format_micro_time(series.last)}}, series.namespace, type="merge")
        except NotFound:  # it has expired: the next one starts anew
            self._known.pop(key, None)
            return
        series.written, series.refreshed = count, self._clock.now()

    async def _finish(self) -> None:
        """Ends the series in which nothing happened of late, and tells how the others go on."""
        while True:
            await self._clock.sleep(60.0)
            now = self._clock.now()
            for key, series in list(self._known.items()):
                over = now - series.last > FINISH_SECONDS
                if series.count != series.written and (over or now - series.refreshed > REFRESH_SECONDS):
                    self._put(key, None)
                elif over:
                    self._known.pop(key, None)
