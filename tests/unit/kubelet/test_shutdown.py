"""The machine goes down: whose pods end when."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.kubelet.node.shutdown import CRITICAL, Class, classes, group
from kubepy.kubelet.settings import Settings


def prioritised(priority: int | None) -> dict[str, Any]:
    return {"metadata": {"name": str(priority)}, "spec": {} if priority is None else {"priority": priority}}


@pytest.mark.parametrize(("settings", "expected"), [
    (Settings(), []),
    (Settings(shutdown_grace_period=30, shutdown_grace_period_critical_pods=10), [Class(0, 20), Class(CRITICAL, 10)]),
    (Settings(shutdown_by_priority=({"priority": 100, "shutdownGracePeriodSeconds": 5}, {"priority": 0, "shutdownGracePeriodSeconds": 60})),
     [Class(0, 60), Class(100, 5)]),
], ids=["nothing configured", "critical pods' time is part of the whole", "classes by priority, the lowest first"])
def test_classes(settings: Settings, expected: list[Class]) -> None:
    assert classes(settings) == expected


def test_pods_end_with_the_highest_class_they_reach() -> None:
    wanted = [Class(0, 20), Class(100, 5), Class(CRITICAL, 10)]
    pods = [prioritised(priority) for priority in (None, 99, 100, -5, CRITICAL + 1000)]
    found = [(item.priority, [pod["metadata"]["name"] for pod in members]) for item, members in group(pods, wanted)]
    assert found == [(0, ["None", "99", "-5"]), (100, ["100"]), (CRITICAL, [str(CRITICAL + 1000)])]
