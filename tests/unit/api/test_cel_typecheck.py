"""Policies are checked against the types they match; what cannot work is told in their status."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.cel.kind import DYN
from kubepy.api.cel.typecheck import Type, builtin, custom, matched, warnings

DEPLOYMENT, POD = Type("apps", "v1", "Deployment"), Type("", "v1", "Pod")
WIDGET = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}


def policy(*expressions: str, **spec: Any) -> dict[str, Any]:
    return {"spec": {"validations": [{"expression": text} for text in expressions], **spec}}


def told(found: dict[str, Any], *types: Type) -> list[Any]:
    return warnings(found, [(type_, builtin(type_) or DYN) for type_ in types], None)


def test_what_a_deployment_lacks() -> None:
    found = told(policy("object.spec.replicas > 1", "object.replicas > 1"), DEPLOYMENT)
    assert found == [{"fieldRef": "spec.validations[1].expression", "warning":
                      "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n"}]


@pytest.mark.parametrize(("expression", "complaint"), [
    ("object.spec.replicas == '1'", "found no matching overload for '_==_' applied to '(int, string)'"),
    ("object.spec.template.spec.containers.all(c, c.image.startsWith('x'))", ""),
    ("object.spec.template.spec.containers.all(c, c.imag == 'x')", "undefined field 'imag'"),
    ("object.metadata.labels['a'] == 'b' && object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')", ""),
    ("object.spec.strategy.rollingUpdate.maxSurge == 1", ""),
    ("variables.n > 1 && variables.n.foo", "type 'int' does not support field selection"),
])
def test_fields_have_types(expression: str, complaint: str) -> None:
    found = told(policy(expression, variables=[{"name": "n", "expression": "object.spec.replicas"}]), DEPLOYMENT)
    assert (complaint in found[0]["warning"]) if complaint else not found


def test_each_type_complains_in_order() -> None:
    (warning,) = told(policy("object.spec.replicas > 1 && object.spec.nodeName == ''"), DEPLOYMENT, POD)
    assert [line.partition(": ")[0] for line in warning["warning"].splitlines() if "Kind=" in line] == [
        "/v1, Kind=Pod", "apps/v1, Kind=Deployment"]


def test_custom_kinds_have_the_metadata_of_all() -> None:
    kind = custom(WIDGET)
    asked = policy("object.spec.size > 1 && object.metadata.labels.size() > 0", "object.spec.colour == ''")
    assert [item["fieldRef"] for item in warnings(asked, [(Type("e", "v1", "Widget"), kind)], None)] == ["spec.validations[1].expression"]


def test_wildcards_are_checked_against_nothing() -> None:
    rules = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "*", "deployments/scale"]},
             {"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]}]
    assert matched({"spec": {"matchConstraints": {"resourceRules": rules}}}) == [("apps", "v1", "deployments")]
