"""/metrics/resources of the scheduler."""
from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubepy.scheduler.usage import render, rows

LABELS = {"namespace": "ns", "node": "n1", "pod": "p", "priority": "5", "scheduler": "default-scheduler"}
REQUEST, LIMIT = "kube_pod_resource_request", "kube_pod_resource_limit"


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "p"}, "spec": {
        "nodeName": "n1", "priority": 5, "schedulerName": "default-scheduler", **spec,
        "containers": [{"resources": item} for item in containers]}}


@pytest.mark.parametrize(("given", "shown"), [
    pytest.param(pod({"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "1"}}, {"requests": {"cpu": "50m"}}),
                 {(REQUEST, "cpu", "cores"): 0.15, (REQUEST, "memory", "bytes"): 2.0**20, (LIMIT, "cpu", "cores"): 1.0},
                 id="units and sums"),
    pytest.param(pod({"requests": {"example.com/gpu": "2", "hugepages-2Mi": "4Mi", "cpu": "0"}}),
                 {(REQUEST, "example.com/gpu", "integer"): 2.0, (REQUEST, "hugepages-2Mi", "bytes"): 2.0**22},
                 id="what is nothing is left out"),
    pytest.param(pod({}), {}, id="no requests"),
])
def test_amounts(given: dict[str, Any], shown: dict[tuple[str, str, str], float]) -> None:
    text = "".join(f"{line}\n" for line in render(rows([given])))
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert {(item.name, item.labels["resource"], item.labels["unit"]): item.value for item in samples} == shown
    assert all(item.labels.items() >= LABELS.items() for item in samples)
