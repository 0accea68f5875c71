"""What is counted of requests."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubepy.apiserver.metric import record, render
from kubepy.apiserver.request import RequestInfo


@pytest.mark.parametrize(("resource", "labels"), [
    pytest.param("configmaps", {"resource": "configmaps", "scope": "resource", "version": "v1"}, id="of a resource that is served"),
    pytest.param("inventions", {"resource": "", "scope": "", "version": ""}, id="of one that is not, without its name"),
])
def test_what_is_not_found_is_counted(resource: str, labels: dict[str, str]) -> None:
    exchange: Any = SimpleNamespace(info=RequestInfo("/x", "get", True, "", "v1", resource, "", "ns", "n", ()))
    record(exchange, 404, 0.1, {("", "v1", "configmaps")})
    found = [sample for family in text_string_to_metric_families(render()) for sample in family.samples
             if sample.name == "apiserver_request_total" and sample.labels["code"] == "404" and sample.labels["verb"] == "GET"]
    assert any(sample.labels.items() >= labels.items() for sample in found)
    assert not any(sample.labels["resource"] == "inventions" for sample in found)
