"""PriorityClass: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import PRIORITY_CLASSES
from kubepy.apiserver.registry.kind import Kind, Strategy


class PriorityClassStrategy(Strategy):
    tracks_generation = True


KIND = Kind(
    PRIORITY_CLASSES,
    "priorityclass",
    PriorityClassStrategy(),
    short_names=("pc",),
)
