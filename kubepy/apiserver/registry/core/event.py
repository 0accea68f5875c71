"""Event: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import EVENTS
from kubepy.apiserver.registry.kind import Kind, Strategy


class EventStrategy(Strategy):
    allow_create_on_update = True


KIND = Kind(
    EVENTS,
    "event",
    EventStrategy(),
    short_names=("ev",),
)
