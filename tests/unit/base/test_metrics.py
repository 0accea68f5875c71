"""Metrics as they are shown."""
from __future__ import annotations

from kubepy.base import metrics


def test_a_gauge_and_a_counter_of_one_name() -> None:
    gauge = metrics.gauge("test_unavailable", "Now.", ("name",))
    counter = metrics.counter("test_unavailable_total", "Ever.", ("name",), apart=True)
    gauge.labels("a").set(1)
    counter.labels("a").inc()
    lines = [line for line in metrics.render().decode().splitlines() if "test_unavailable" in line]
    assert lines == ["# HELP test_unavailable [ALPHA] Now.", "# TYPE test_unavailable gauge", 'test_unavailable{name="a"} 1.0',
                     "# HELP test_unavailable_total [ALPHA] Ever.", "# TYPE test_unavailable_total counter",
                     'test_unavailable_total{name="a"} 1.0']
