"""Event: something that happened to an object; kept for an hour (`pkg/registry/core/event`)."""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api.field import Errors
from kubepy.api.resource import EVENTS
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import NAME, UNKNOWN, aged, at, column, duration, epoch, field
from kubepy.apiserver.registry.core.event_validation import event
from kubepy.apiserver.registry.kind import Column, Kind, Strategy
from kubepy.apiserver.request import Context

TTL = 3600


class EventStrategy(Strategy):
    allow_create_on_update = True

    def validate(self, context: Context, obj: Object) -> Errors:
        return event(obj, strict=False)


def source(obj: Object) -> str:
    return str(at(obj, "source.component") or obj.get("reportingComponent", ""))


def _first(obj: Object) -> str | None:
    return obj.get("firstTimestamp") or obj.get("eventTime")


def _last_seen(obj: Object, now: float) -> str:
    stamp = at(obj, "series.lastObservedTime") or obj.get("lastTimestamp") or _first(obj)
    moment = epoch(stamp)
    return UNKNOWN if moment is None else duration(now - moment)


def _object(obj: Object) -> str:
    about = obj.get("involvedObject") or {}
    kind, name = about.get("kind", "").lower(), about.get("name", "")
    return f"{kind}/{name}" if name else kind


def _source(obj: Object) -> str:
    component = source(obj)
    host = at(obj, "source.host") or obj.get("reportingInstance", "")
    return f"{component}, {host}" if host else component


def _count(obj: Object) -> int:
    return int(at(obj, "series.count") or obj.get("count") or 1)


COLUMNS = (
    Column("Last Seen", "string", aged("x", "=core.v1.Event.lastTimestamp", _first).description, _last_seen),
    column("Type", "string", "=core.v1.Event.type", field("type")),
    column("Reason", "string", "=core.v1.Event.reason", field("reason")),
    column("Object", "string", "=core.v1.Event.involvedObject", _object),
    column("Subobject", "string", "=core.v1.ObjectReference.fieldPath", field("involvedObject.fieldPath"), 1),
    column("Source", "string", "=core.v1.Event.source", _source, 1),
    column("Message", "string", "=core.v1.Event.message", lambda obj: (obj.get("message") or "").strip()),
    aged("First Seen", "=core.v1.Event.firstTimestamp", _first, 1),
    column("Count", "string", "=core.v1.Event.count", _count, 1),
    Column(NAME.name, NAME.type, NAME.description, NAME.cell, NAME.format, 1),
)
"""Of core events; the new kind shows the same after conversion."""

_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def about(key: str) -> Callable[[Object], str]:
    """A selectable field of the object that a core event is about."""
    return lambda obj: at(obj, f"involvedObject.{key}", "")


KIND: Kind = Kind(
    EVENTS,
    "event",
    EventStrategy(),
    columns=COLUMNS,
    short_names=("ev",),
    selectable={
        **{f"involvedObject.{key}": about(key) for key in _ABOUT},
        "reason": lambda obj: obj.get("reason", ""),
        "reportingComponent": lambda obj: obj.get("reportingComponent", ""),
        "source": source,
        "type": lambda obj: obj.get("type", ""),
    },
    unknown_field="field label not supported: {field}",
    ttl=TTL,
)
