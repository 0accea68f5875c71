"""How long extension points and plugins take, for the metrics (`scheduler_framework_extension_point_duration_seconds`,
`scheduler_plugin_execution_duration_seconds`). Children of metrics are kept: looking them up costs more than counting."""
from __future__ import annotations

import random
from collections import Counter
from functools import lru_cache
from typing import Any

from kubepy.scheduler import metric

SAMPLED = 0.1
"""The share of attempts whose plugins are measured one by one, as upstream."""


@lru_cache(maxsize=1024)
def _point(point: str, status: str, profile: str) -> Any:
    return metric.POINT_SECONDS.labels(point, status, profile)


@lru_cache(maxsize=4096)
def _plugin(plugin: str, point: str, status: str) -> Any:
    return metric.PLUGIN_SECONDS.labels(plugin, point, status)


EVALUATIONS: Counter[tuple[str, str, str]] = Counter()
"""(plugin, extension point, profile) -> evaluations not yet in the metric: `flush` adds them, as counting there costs ten times as much."""


def flush() -> None:
    """To be called now and then."""
    for labels, count in EVALUATIONS.items():
        metric.PLUGIN_EVALUATIONS.labels(*labels).inc(count)
    EVALUATIONS.clear()


class Timing:
    """Of one attempt."""

    __slots__ = ("profile", "sampled")

    def __init__(self, profile: str, rng: random.Random) -> None:
        self.profile = profile
        self.sampled = rng.random() < SAMPLED

    def point(self, point: str, seconds: float, status: str = "Success") -> None:
        _point(point, status, self.profile).observe(seconds)

    def plugin(self, point: str, plugin: str, seconds: float, status: str = "Success") -> None:
        _plugin(plugin, point, status).observe(seconds)

    def evaluated(self, point: str, plugin: str) -> None:
        EVALUATIONS[plugin, point, self.profile] += 1
