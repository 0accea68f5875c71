"""LimitRange: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import LIMIT_RANGES
from kubepy.apiserver.registry.kind import Kind, Strategy


class LimitRangeStrategy(Strategy):
    allow_create_on_update = True


KIND = Kind(
    LIMIT_RANGES,
    "limitrange",
    LimitRangeStrategy(),
    short_names=("limits",),
)
