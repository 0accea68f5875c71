"""Events about objects (`client-go/tools/record`): recording never waits and never fails its caller.

Upstream's correlation: the same event again raises its count; more than ten events that differ only in their message
within ten minutes become one "(combined from similar events)"; each object may cause a burst of 25 events and then one
every five minutes. Written as core/v1 Events with `source.component`.
"""
from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import EVENTS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock, format_time
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.interface import Client

log = get_logger("events")

QUEUE_SIZE = 1000
CACHE_SIZE = 4096
SIMILAR_MAX, SIMILAR_INTERVAL = 10, 600.0
SPAM_BURST, SPAM_REFILL = 25.0, 1 / 300.0
TRIES, TRY_INTERVAL = 12, 10.0


class Recorder(Protocol):
    def event(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str, *, field_path: str = "") -> None: ...


class ActionRecorder(Protocol):
    """As `client.series` has it: an event also says what was being done, with which other object, and who says so."""

    def event(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str, *, field_path: str = "", action: str = "",
              related: Object | None = None, component: str = "") -> None: ...


def reference(obj: Object, field_path: str = "") -> Object:
    """An ObjectReference to an object (or what is there of a reference already)."""
    metadata = obj.get("metadata") or obj
    found = {
        "kind": obj.get("kind"), "namespace": metadata.get("namespace"), "name": metadata.get("name"), "uid": metadata.get("uid"),
        "apiVersion": obj.get("apiVersion"), "resourceVersion": metadata.get("resourceVersion"), "fieldPath": field_path,
    }
    return {key: value for key, value in found.items() if value}


class _Occurrence(NamedTuple):
    about: Object
    type: str
    reason: str
    message: str
    time: float


@dataclass(slots=True)
class _Known:
    """An event that has been written: what is needed to count it up."""

    name: str
    namespace: str
    count: int


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    last: float = 0.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Plan(NamedTuple):
    """What to write: a new event, or a patch of one that is known."""

    key: tuple[Any, ...]
    event: Object
    known: _Known | None


class Correlator:
    """Decides what becomes of an occurrence. Pure but for its memory, which is bounded."""

    def __init__(self, component: str, host: str) -> None:
        self._source = {"component": component, **({"host": host} if host else {})}
        self._stamp = 0  # nanoseconds, in the names of events: never the same twice
        self._known: OrderedDict[tuple[Any, ...], _Known] = OrderedDict()
        self._similar: OrderedDict[tuple[Any, ...], _Similar] = OrderedDict()
        self._buckets: OrderedDict[tuple[Any, ...], _Bucket] = OrderedDict()

    def plan(self, seen: _Occurrence) -> Plan | None:
        """None: the object has caused too many events."""
        about = seen.about
        subject = tuple(about.get(name, "") for name in ("kind", "namespace", "name", "uid", "apiVersion"))
        if not self._allowed(subject, seen.time):
            return None
        group = (*subject, seen.type, seen.reason)
        similar = _touch(self._similar, group, _Similar())
        if seen.time - similar.last > SIMILAR_INTERVAL:
            similar.messages.clear()
        similar.last = seen.time
        similar.messages.add(seen.message)
        message, key = seen.message, (*group, about.get("fieldPath", ""), seen.message)
        if len(similar.messages) >= SIMILAR_MAX:
            similar.messages.pop()  # bounded: it stays just below the limit until the burst is over
            similar.messages.add(seen.message)
            message, key = f"(combined from similar events): {seen.message}", group
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        return Plan(key, self._event(seen, message, known), known)

    def written(self, plan: Plan) -> None:
        event = plan.event
        known = _touch(self._known, plan.key, _Known("", "", 0))
        known.name, known.namespace, known.count = event["metadata"]["name"], event["metadata"]["namespace"], event["count"]

    def forget(self, plan: Plan) -> Plan:
        """The event has expired on the server: write a new one."""
        self._known.pop(plan.key, None)
        return Plan(plan.key, {**plan.event, "count": 1, "firstTimestamp": plan.event["lastTimestamp"]}, None)

    def _allowed(self, subject: tuple[Any, ...], now: float) -> bool:
        bucket = _touch(self._buckets, subject, _Bucket(SPAM_BURST, now))
        bucket.tokens = min(SPAM_BURST, bucket.tokens + (now - bucket.at) * SPAM_REFILL)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _event(self, seen: _Occurrence, message: str, known: _Known | None) -> Object:
        namespace = seen.about.get("namespace") or "default"
        self._stamp = max(self._stamp + 1, int(seen.time * 1e9))
        name = known.name if known else f"{seen.about.get('name', '')}.{self._stamp:x}"
        moment = format_time(seen.time)
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": seen.about, "reason": seen.reason, "message": message, "type": seen.type, "source": self._source,
            "firstTimestamp": moment, "lastTimestamp": moment, "count": known.count + 1 if known else 1,
            "reportingComponent": self._source["component"], "reportingInstance": self._source.get("host", ""),
        }
        return event


class EventRecorder:
    """Writes from a bounded queue in a task of its own; `start` it once."""

    def __init__(self, client: Client, component: str, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._correlator = Correlator(component, host)
        self._queue: asyncio.Queue[_Occurrence] = asyncio.Queue(QUEUE_SIZE)

    def start(self, tasks: Tasks) -> None:
        tasks.keep(self._run, "events")

    def event(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str, *, field_path: str = "") -> None:
        """`about` is an object or an ObjectReference. Dropped, with a log line, when a thousand events wait already."""
        seen = _Occurrence(reference(about, field_path or about.get("fieldPath", "")), type, reason, message, self._clock.now())
        try:
            self._queue.put_nowait(seen)
        except asyncio.QueueFull:
            log.warning("Event dropped: too many wait", reason=reason, object=seen.about.get("name"))

    async def _run(self) -> None:
        while True:
            plan = self._correlator.plan(await self._queue.get())
            if plan is not None:
                await self._write(plan)

    async def _write(self, plan: Plan) -> None:
        for _ in range(TRIES):
            try:
                await self._send(plan)
            except ConnectionError as error:
                log.v(2).info("Cannot write event, retrying", reason=plan.event["reason"], err=error)
                await self._clock.sleep(TRY_INTERVAL)
                continue
            except ApiError as error:  # its namespace is going away, or the like: an event is not worth more
                log.v(2).info("Event refused", reason=plan.event["reason"], err=error)
                return
            self._correlator.written(plan)
            return

    async def _send(self, plan: Plan) -> None:
        if plan.known is not None:
            event = plan.event
            change = {key: event[key] for key in ("count", "lastTimestamp", "message")}
            try:
                await self._client.patch(EVENTS, plan.known.name, change, plan.known.namespace, type="merge")
                return
            except NotFound:
                plan = self._correlator.forget(plan)
        try:
            await self._client.create(EVENTS, plan.event)
        except AlreadyExists:  # an attempt whose answer was lost
            return


def _touch(cache: OrderedDict[tuple[Any, ...], Any], key: tuple[Any, ...], fresh: Any) -> Any:
    """The cached value, now the most recent; the oldest falls out when there are too many."""
    found = cache.get(key)
    if found is None:
        found = cache[key] = fresh
        if len(cache) > CACHE_SIZE:
            cache.popitem(last=False)
    else:
        cache.move_to_end(key)
    return found
