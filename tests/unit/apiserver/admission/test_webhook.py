"""Webhooks' and policies' pure parts: rules, answers, refusals, expressions."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, Resource
from kubepy.apiserver.admission.condition import ConditionsFailed, hold
from kubepy.apiserver.admission.expression import POLICY, complaint
from kubepy.apiserver.admission.match import rule_matches
from kubepy.apiserver.admission.policy.evaluation import Scope, validate
from kubepy.apiserver.admission.webhook.review import denied, read
from kubepy.apiserver.webhook import CallError

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}


def attributes(resource: Resource, *, operation: str = "CREATE", namespace: str = "ns", subresource: str = "") -> Any:
    return SimpleNamespace(context=SimpleNamespace(kind=SimpleNamespace(resource=resource)), operation=operation, namespace=namespace,
                           subresource=subresource, name="x")


@pytest.mark.parametrize(("changes", "asked", "matches"), [
    pytest.param({}, attributes(PODS), True, id="the resource itself"),
    pytest.param({}, attributes(PODS, subresource="exec"), False, id="not its subresources"),
    pytest.param({"resources": ["pods/*"]}, attributes(PODS, subresource="exec"), True, id="all subresources"),
    pytest.param({"resources": ["*"]}, attributes(PODS, subresource="exec"), False, id="a star is no subresource"),
    pytest.param({"resources": ["*/*"]}, attributes(PODS, subresource="exec"), True, id="everything"),
    pytest.param({"operations": ["UPDATE"]}, attributes(PODS), False, id="another operation"),
    pytest.param({"operations": ["*"]}, attributes(PODS, operation="DELETE"), True, id="any operation"),
    pytest.param({"apiGroups": ["*"], "resources": ["*"]}, attributes(DEPLOYMENTS), True, id="any group"),
    pytest.param({"resources": ["*"], "scope": "Namespaced"}, attributes(NAMESPACES, namespace=""), False, id="a namespace is none"),
    pytest.param({"resources": ["*"], "scope": "Cluster"}, attributes(CONFIGMAPS), False, id="a namespaced object is not"),
])
def test_rules_select_requests(changes: dict[str, Any], asked: Any, matches: bool) -> None:
    assert rule_matches({**RULE, **changes}, asked.context.kind.resource, asked) is matches


@pytest.mark.parametrize(("response", "mutating"), [
    pytest.param(None, True, id="no response"), pytest.param({"uid": "else", "allowed": True}, True, id="for another request"),
    pytest.param({"uid": "u", "allowed": True, "patch": "W10="}, True, id="a patch of no type"),
    pytest.param({"uid": "u", "allowed": True, "patchType": "JSONPatch"}, True, id="a type of no patch"),
    pytest.param({"uid": "u", "allowed": True, "patch": "W10=", "patchType": "Merge"}, True, id="a patch of another type"),
    pytest.param({"uid": "u", "allowed": True, "patch": "W10=", "patchType": "JSONPatch"}, False, id="a validating webhook that patches"),
])
def test_answers_that_are_of_no_use(response: Any, mutating: bool) -> None:
    with pytest.raises(CallError):
        read({"response": response}, "u", "v1", mutating=mutating)


def test_only_true_allows() -> None:
    for value in (None, "true", 1, "yes"):
        assert not read({"response": {"uid": "u", "allowed": value}}, "u", "v1", mutating=True).allowed


@pytest.mark.parametrize(("status", "code", "message"), [
    pytest.param(None, 400, "denied the request without explanation", id="no status"),
    pytest.param({"code": 200, "message": "no"}, 400, "denied the request: no", id="a refusal is never a success"),
    pytest.param({"code": 409, "reason": "Conflict"}, 409, "denied the request: Conflict", id="a reason stands for the message"),
])
def test_refusals_have_a_webhooks_words(status: Any, code: int, message: str) -> None:
    error = denied("a.b.c", status)
    assert (error.code, error.message) == (code, f'admission webhook "a.b.c" {message}')


def test_one_false_condition_outweighs_failures() -> None:
    values = {"object": {"metadata": {"name": "off"}}, "oldObject": None, "request": {}}
    broken, other = "object.data.x == 'y'", "object.metadata.name != 'off'"
    assert hold([broken, other], ("object", "oldObject", "request"), values) is False
    values["object"]["metadata"]["name"] = "on"  # type: ignore[index]
    with pytest.raises(ConditionsFailed, match="no such key: data"):
        hold([broken, other], ("object", "oldObject", "request"), values)


def test_a_broken_variable_breaks_only_what_reaches_it() -> None:
    values = {"object": {"n": 1}, "oldObject": None, "request": {}, "params": None, "namespaceObject": None}
    scope = Scope(values, [{"name": "broken", "expression": "object.none"}, {"name": "twice", "expression": "object.n * 2"},
                           {"name": "four", "expression": "variables.twice * 2"}])
    spec = {"validations": [{"expression": "object.n == 1 || variables.broken == 1"}, {"expression": "variables.four == 4"},
                            {"expression": "variables.broken == 1"}]}
    assert [refusal.message for refusal in validate(scope, spec)] == [
        "expression 'variables.broken == 1' resulted in error: composited variable \"broken\" fails to evaluate: no such key: none"]
    assert validate(scope, {**spec, "failurePolicy": "Ignore"}) == []


@pytest.mark.parametrize(("source", "why"), [
    pytest.param("1 == 1", "", id="good"), pytest.param("1", "must evaluate to bool but got int", id="no bool"),
    pytest.param("thing.x == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'thing' (in container '')\n"
                 " | thing.x == 1\n | ^", id="an unknown name"),
    pytest.param("variables.b", "compilation failed: ERROR: <input>:1:10: undefined field 'b'\n | variables.b\n | .........^",
                 id="an unknown variable"),
])
def test_expressions_are_checked(source: str, why: str) -> None:
    assert complaint(source, POLICY, ("BOOL",), ["a"]) == why
