"""What cells of tables show."""
from __future__ import annotations

import pytest

from kubepy.apiserver.registry.columns import age, duration, labels, selector, some
from kubepy.apiserver.registry.core.pod_columns import ready, restarts, status

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(("seconds", "shown"), [
    (-5, "<invalid>"), (-0.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (10 * MINUTE, "10m"), (179 * MINUTE, "179m"),
    (3 * HOUR, "3h"), (3 * HOUR + MINUTE, "3h1m"), (8 * HOUR + MINUTE, "8h"), (2 * DAY, "2d"), (2 * DAY + HOUR, "2d1h"), (8 * DAY, "8d"),
    (2 * 365 * DAY, "2y"), (2 * 365 * DAY + DAY, "2y1d"), (8 * 365 * DAY + DAY, "8y"),
])
def test_durations_are_human(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_an_age_needs_a_time() -> None:
    assert age("1970-01-01T00:00:10Z", 70.0) == "60s"
    assert age(None, 70.0) == "<unknown>"
    assert age("yesterday", 70.0) == "<unknown>"


def test_labels_and_selectors() -> None:
    assert labels({"b": "2", "a": "1"}) == "a=1,b=2"
    assert labels({}) == "<none>"
    assert selector({"matchLabels": {"z": "1"}, "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["y", "x"]},
                                                                     {"key": "b", "operator": "DoesNotExist"}]}) \
        == "a notin (x,y),!b,z=1"
    assert selector({}) == "<none>"
    assert some(["a", "b", "c"], 2).startswith("a,b")


def pod(phase: str = "Running", *, containers: int = 1, **fields: object) -> dict:
    return {"metadata": {"name": "p", **fields.pop("metadata", {})}, "spec": {"containers": [{"name": f"c{n}"} for n in range(containers)]},
            "status": {"phase": phase, **fields}}


def waiting(reason: str) -> dict:
    return {"name": "c0", "state": {"waiting": {"reason": reason}}}


@pytest.mark.parametrize(("obj", "shown"), [
    (pod("Pending"), "Pending"),
    (pod("Failed", reason="Evicted"), "Evicted"),
    (pod("Pending", containerStatuses=[waiting("ImagePullBackOff")]), "ImagePullBackOff"),
    (pod("Failed", containerStatuses=[{"name": "c0", "state": {"terminated": {"exitCode": 3}}}]), "ExitCode:3"),
    (pod("Failed", containerStatuses=[{"name": "c0", "state": {"terminated": {"signal": 9, "exitCode": 137}}}]), "Signal:9"),
    (pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), "Terminating"),
], ids=["phase", "reason", "waiting", "exit code", "signal", "deleted"])
def test_a_pods_status_in_a_word(obj: dict, shown: str) -> None:
    assert status(obj) == shown


def test_a_pods_ready_and_restarted_containers() -> None:
    obj = pod(containers=2, containerStatuses=[
        {"name": "c0", "ready": True, "restartCount": 2, "state": {"running": {}},
         "lastState": {"terminated": {"finishedAt": "1970-01-01T00:00:00Z"}}},
        {"name": "c1", "ready": False, "restartCount": 1, "state": {"waiting": {"reason": "x"}}}])
    assert ready(obj) == "1/2"
    assert restarts(obj, 300.0) == "3 (5m ago)"
