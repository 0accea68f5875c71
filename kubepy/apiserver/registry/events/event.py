"""Event: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import EVENTS_V1
from kubepy.apiserver.registry.kind import Kind, Strategy


class EventStrategy(Strategy):
    allow_create_on_update = True


KIND = Kind(
    EVENTS_V1,
    "event",
    EventStrategy(),
    short_names=("ev",),
)
