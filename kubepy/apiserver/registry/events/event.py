"""Event of events.k8s.io/v1: the core Event under other names, with stricter rules; stored as the core one."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubepy.api.field import Errors
from kubepy.api.resource import EVENTS, EVENTS_V1
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import at
from kubepy.apiserver.registry.core.event import COLUMNS, TTL
from kubepy.apiserver.registry.core.event_validation import event, event_update
from kubepy.apiserver.registry.kind import Column, Kind, Strategy
from kubepy.apiserver.request import Context

_NAMES = {"regarding": "involvedObject", "note": "message", "reportingController": "reportingComponent", "deprecatedSource": "source",
          "deprecatedFirstTimestamp": "firstTimestamp", "deprecatedLastTimestamp": "lastTimestamp", "deprecatedCount": "count"}
_BACK = {core: new for new, core in _NAMES.items()}
_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def to_core(obj: Object) -> Object:
    """The same event as core/v1 has it."""
    found = {_NAMES.get(key, key): value for key, value in obj.items()}
    found["apiVersion"] = "v1"
    for key in ("eventTime", "firstTimestamp", "lastTimestamp"):
        found.setdefault(key, None)
    for key in ("reportingComponent", "reportingInstance"):
        found.setdefault(key, "")
    for key in ("source", "involvedObject"):
        found.setdefault(key, {})
    return found


def from_core(obj: Object) -> Object:
    found = {_BACK.get(key, key): value for key, value in obj.items()}
    found["apiVersion"] = "events.k8s.io/v1"
    for key in ("reportingController", "reportingInstance"):
        if found.get(key) == "":
            del found[key]
    return found


class EventConversion:
    def to_stored(self, obj: Object) -> Object:
        return to_core(obj)

    def from_stored(self, obj: Object) -> Object:
        return from_core(obj)


class EventStrategy(Strategy):
    allow_create_on_update = True

    def validate(self, context: Context, obj: Object) -> Errors:
        return event(to_core(obj), strict=True)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return event_update(to_core(obj), to_core(old))


def _converted(shown: Column) -> Column:
    cell = shown.cell
    return Column(shown.name, shown.type, shown.description, lambda obj, now: cell(to_core(obj), now), shown.format, shown.priority)


def _regarding(key: str) -> Callable[[Object], Any]:
    return lambda obj: at(obj, f"regarding.{key}", "")


KIND: Kind = Kind(
    EVENTS_V1,
    "event",
    EventStrategy(),
    columns=tuple(_converted(shown) for shown in COLUMNS),
    short_names=("ev",),
    selectable={
        **{f"regarding.{key}": _regarding(key) for key in _ABOUT},
        "reason": lambda obj: obj.get("reason", ""),
        "reportingController": lambda obj: obj.get("reportingController", ""),
        "type": lambda obj: obj.get("type", ""),
    },
    stored_fields={**{f"regarding.{key}": f"involvedObject.{key}" for key in _ABOUT}, "reportingController": "reportingComponent"},
    unknown_field="field label not supported: {field}",
    stored_as=EVENTS,
    conversion=EventConversion(),
    ttl=TTL,
)
