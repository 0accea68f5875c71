"""The shape in which objects are stored: as a Go server would write them."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.registry.docs import definitions
from kubepy.apiserver.registry.shape import normalize, shape


@pytest.mark.parametrize(("definition", "given", "expected"), [
    ("core.v1.ConfigMap", {"data": None, "immutable": False}, {"immutable": False, "metadata": {}}),
    ("core.v1.Container", {"name": "c", "stdin": False, "command": [], "image": ""}, {"name": "c", "resources": {}}),
    ("core.v1.ContainerPort", {}, {"containerPort": 0}),
    ("core.v1.ResourceRequirements", {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, {"limits": {"cpu": "500m", "memory": "1Gi"}}),
    ("core.v1.PodSecurityContext", {"runAsUser": 0, "sysctls": []}, {"runAsUser": 0}),
    ("core.v1.PodStatus", {"startTime": "2026-01-01T01:00:00+01:00"}, {"startTime": "2026-01-01T00:00:00Z"}),
    ("coordination.v1.LeaseSpec", {"renewTime": "2026-01-01T00:00:00Z"}, {"renewTime": "2026-01-01T00:00:00.000000Z"}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_zero_values_go_and_numbers_and_times_are_canonical(definition: str, given: dict[str, Any], expected: dict[str, Any]) -> None:
    shape(given, full(definition))
    assert given == expected


def full(definition: str) -> str:
    return next(name for name in definitions() if name.endswith(definition))


def test_unknown_kinds_are_left_alone() -> None:
    obj = {"apiVersion": "a.com/v1", "kind": "Thing", "metadata": {"labels": None}, "x": None}
    normalize(obj)
    assert obj["x"] is None
