"""StatefulSet: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import STATEFUL_SETS
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy


class StatefulSetStrategy(Strategy):
    has_status = True
    tracks_generation = True
    name_kind = "label"


KIND = Kind(
    STATEFUL_SETS,
    "statefulset",
    StatefulSetStrategy(),
    short_names=("sts",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
