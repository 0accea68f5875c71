"""Semantic equality of decoded values."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.schema.equal import equal
from kubepy.api.schema.shape import struct

POD_SPEC = struct("io.k8s.api.core.v1.PodSpec")


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", **fields}]}


@pytest.mark.parametrize(("one", "other", "expected"), [
    (container(resources={"limits": {"memory": "1G"}}), container(resources={"limits": {"memory": "1e9"}}), True),
    (container(resources={"limits": {"memory": "1G"}}), container(resources={"limits": {"memory": "1Gi"}}), False),
    (container(args=[]), container(), True), (container(image="1"), container(image="1.0"), False),
    (container(env=[{"name": "a"}]), container(env=[{"name": "b"}]), False), ({"securityContext": {}}, {}, False),
], ids=["quantities by amount", "other amounts", "empty and absent lists", "texts", "items", "an empty pointer is not none"])
def test_equality(one: dict[str, Any], other: dict[str, Any], expected: bool) -> None:
    assert equal(POD_SPEC, one, other) is expected
    assert equal(POD_SPEC, other, one) is expected
