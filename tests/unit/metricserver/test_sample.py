"""The kubelet's text into numbers, and numbers into metrics.k8s.io."""
from __future__ import annotations

import pytest

from kubepy.metricserver import present
from kubepy.metricserver.sample import Point, Usage, Window, parse, rate

TEXT = """# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total {cpu} 1700000000500
node_memory_working_set_bytes 4.2e+09 1700000000500
container_cpu_usage_seconds_total{{container="c",namespace="default",pod="a"}} {cpu}
container_memory_working_set_bytes{{container="c",namespace="default",pod="a"}} 2048
container_start_time_seconds{{container="c",namespace="default",pod="a"}} 100
container_cpu_usage_seconds_total{{container="half",namespace="default",pod="b"}} 1
pod_cpu_usage_seconds_total{{namespace="default",pod="a"}} 7
"""


def test_text_is_read_with_and_without_times_and_halves_are_left_out() -> None:
    found = parse(TEXT.format(cpu=12.5), 1000.0)
    assert found.node == Point(12.5, 4.2e9, 1700000000.5)
    assert found.pods == {("default", "a"): {"c": Point(12.5, 2048, 1000.0, 100)}}


@pytest.mark.parametrize(("before", "after", "expected"), [
    pytest.param(Point(1, 5, 10), Point(2, 6, 20), Usage(0.1, 6, 20, 10), id="two moments"),
    pytest.param(None, Point(2, 6, 20), None, id="only one"),
    pytest.param(Point(1, 5, 10, 1), Point(2, 6, 20, 15), None, id="started anew"),
    pytest.param(Point(3, 5, 10), Point(2, 6, 20), None, id="a counter that went back"),
    pytest.param(Point(1, 5, 10), Point(2, 6, 10), None, id="the same moment"),
])
def test_rates(before: Point | None, after: Point, expected: Usage | None) -> None:
    assert rate(before, after) == expected


def test_a_window_knows_what_two_rounds_said_and_forgets_nodes_that_do_not_answer() -> None:
    window = Window()
    window.put("n", parse(TEXT.format(cpu=10).replace("1700000000500", "1000000"), 1000))
    assert window.pod("n", ("default", "a")) is None  # it is old, so its life says nothing about now
    window.put("n", parse(TEXT.format(cpu=11).replace("1700000000500", "1010000"), 1010))
    assert window.pod("n", ("default", "a")) == {"c": Usage(0.1, 2048, 1010, 10)}
    assert window.node("n") == Usage(0.1, 4.2e9, 1010, 10)
    window.keep_only(set())
    assert window.node("n") is None


def test_objects_and_tables() -> None:
    pod = {"metadata": {"name": "a", "namespace": "default", "labels": {"x": "1"}}}
    item = present.pod_metrics(pod, {"c": Usage(0.1, 2048, 1010, 15.02), "d": Usage(0.25, 1024 ** 2, 1000, 61.5)})
    assert item["timestamp"] == "1970-01-01T00:16:40Z"
    assert item["window"] == "1m1.5s"
    assert item["containers"] == [{"name": "c", "usage": {"cpu": "100m", "memory": "2Ki"}},
                                  {"name": "d", "usage": {"cpu": "250m", "memory": "1024Ki"}}]
    assert present.table([item])["rows"][0]["cells"] == ["a", "350m", "1026Ki", "1m1.5s"]
