"""Requests arithmetic, taints and node selection."""
from __future__ import annotations

import pytest

from kubepy.api import scheduling


def container(requests=None, **more):
    return {"name": more.pop("name", "c"), "resources": {"requests": requests or {}}, **more}


@pytest.mark.parametrize(("resource", "text", "expected"), [
    pytest.param("cpu", "100m", 100, id="milli cpu"),
    pytest.param("cpu", "1.5", 1500, id="fractional cpu"),
    pytest.param("cpu", "100u", 1, id="micro cpu rounds up"),
    pytest.param("memory", "200Mi", 200 * 2**20, id="binary"),
    pytest.param("memory", "1e3", 1000, id="exponent"),
    pytest.param("memory", "1E", 10**18, id="exa, not an exponent"),
    pytest.param("memory", "100m", 1, id="a fraction of a byte rounds up"),
    pytest.param("example.com/gpu", 2, 2, id="a bare number"),
])
def test_amount(resource, text, expected):
    assert scheduling.amount(resource, text) == expected


@pytest.mark.parametrize(("spec", "expected"), [
    pytest.param({"containers": [container({"cpu": "1"}), container({"cpu": "2", "memory": "1Gi"})]},
                 {"cpu": 3000, "memory": 2**30}, id="containers add up"),
    pytest.param({"containers": [container({"cpu": "1"})], "initContainers": [container({"cpu": "3"}), container({"cpu": "2"})]},
                 {"cpu": 3000}, id="the largest init container counts if it is more"),
    pytest.param({"containers": [container({"cpu": "1"})],
                  "initContainers": [container({"cpu": "1"}, restartPolicy="Always"), container({"cpu": "3"})]},
                 {"cpu": 4000}, id="an init container runs beside the sidecars before it"),
    pytest.param({"containers": [container({"cpu": "1"})],
                  "initContainers": [container({"cpu": "3"}), container({"cpu": "3"}, restartPolicy="Always")]},
                 {"cpu": 4000}, id="sidecars run beside the containers"),
    pytest.param({"containers": [container({"cpu": "1"})], "overhead": {"cpu": "250m"}}, {"cpu": 1250}, id="overhead"),
    pytest.param({"containers": [container({"cpu": "1", "example.com/x": "1"})], "resources": {"requests": {"cpu": "2"}}},
                 {"cpu": 2000, "example.com/x": 1}, id="pod-level requests replace the sum"),
])
def test_pod_requests(spec, expected):
    assert scheduling.pod_requests({"spec": spec}) == expected


def test_a_resize_counts_the_larger_of_wanted_and_allocated():
    pod = {"spec": {"containers": [container({"cpu": "1"})]},
           "status": {"containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "2"}}]}}
    assert scheduling.pod_requests(pod, from_status=True) == {"cpu": 2000}
    assert scheduling.pod_requests(pod) == {"cpu": 1000}


@pytest.mark.parametrize(("status", "expected"), [
    pytest.param({"resources": {"requests": {"cpu": "3"}}}, 3000, id="what is applied, while it shrinks"),
    pytest.param({"resources": {"requests": {"cpu": "1"}}, "allocatedResources": {"cpu": "1500m"}}, 2000,
                 id="what is wanted, while it grows"),
    pytest.param({"resources": {"requests": {"cpu": "1"}}, "conditions": [{"type": "PodResizePending", "reason": "Infeasible"}],
                  "containerStatuses": [{"name": "c"}]}, 1000, id="what is applied, where it cannot grow"),
])
def test_a_resize_of_the_pod_level(status, expected):
    pod = {"spec": {"containers": [container({"cpu": "1"})], "resources": {"requests": {"cpu": "2"}}}, "status": status}
    assert scheduling.pod_requests(pod, from_status=True) == {"cpu": expected}


def test_containers_without_requests_count_a_little_when_scored():
    pod = {"spec": {"containers": [container(), container({"cpu": "1"})]}}
    assert scheduling.pod_requests(pod, nonzero=True) == {"cpu": 1100, "memory": 2 * scheduling.DEFAULT_MEMORY}


@pytest.mark.parametrize(("toleration", "expected"), [
    pytest.param({"key": "a", "value": "b", "effect": "NoSchedule"}, True, id="equal"),
    pytest.param({"key": "a", "operator": "Exists"}, True, id="exists with any effect"),
    pytest.param({"operator": "Exists"}, True, id="everything"),
    pytest.param({"key": "a", "value": "c"}, False, id="other value"),
    pytest.param({"key": "a", "operator": "Exists", "effect": "NoExecute"}, False, id="other effect"),
])
def test_tolerates(toleration, expected):
    assert scheduling.tolerates(toleration, {"key": "a", "value": "b", "effect": "NoSchedule"}) is expected


@pytest.mark.parametrize(("expression", "expected"), [
    pytest.param(("zone", "In", ["a", "b"]), True, id="in"),
    pytest.param(("zone", "NotIn", ["a"]), False, id="not in"),
    pytest.param(("rack", "NotIn", ["a"]), True, id="not in, absent"),
    pytest.param(("zone", "Exists", None), True, id="exists"),
    pytest.param(("zone", "DoesNotExist", None), False, id="does not exist"),
    pytest.param(("size", "Gt", ["9"]), True, id="greater as a number"),
    pytest.param(("size", "Lt", ["9"]), False, id="less as a number"),
    pytest.param(("zone", "Gt", ["9"]), False, id="not a number"),
])
def test_requirement(expression, expected):
    key, operator, values = expression
    requirement = {"key": key, "operator": operator, "values": values}
    assert scheduling.matches_requirement(requirement, {"zone": "a", "size": "10"}) is expected


def test_an_empty_term_matches_no_node():
    assert not scheduling.matches_node_selector({"nodeSelectorTerms": [{}]}, {}, "n")


def test_a_term_can_name_the_node():
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    assert scheduling.matches_term(term, {}, "n")
    assert not scheduling.matches_term(term, {}, "m")
