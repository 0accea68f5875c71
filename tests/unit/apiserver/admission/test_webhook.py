"""Webhooks' and policies' pure parts: rules, answers, refusals, expressions."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubepy.api.cel.admission import Scope as CelScope
from kubepy.api.cel.function.authorization import Answer, Authorizer, Question, Unanswered
from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, Resource
from kubepy.apiserver.admission.condition import ConditionsFailed, hold
from kubepy.apiserver.admission.expression import Expression
from kubepy.apiserver.admission.match import rule_matches
from kubepy.apiserver.admission.policy.definition import Policy
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


def compiled(*sources: str) -> list[Expression]:
    return [Expression.of(source, CelScope()) for source in sources]


def test_one_false_condition_outweighs_failures() -> None:
    values = {"object": {"metadata": {"name": "off"}}, "oldObject": None, "request": {}}
    conditions = compiled("object.data.x == 'y'", "object.metadata.name != 'off'")
    assert hold(conditions, values) is False
    values["object"]["metadata"]["name"] = "on"  # type: ignore[index]
    with pytest.raises(ConditionsFailed, match="no such key: data"):
        hold(conditions, values)


def policy(**spec: Any) -> Policy:
    return Policy({"metadata": {"name": "p"}, "spec": spec})


def test_a_broken_variable_breaks_only_what_reaches_it() -> None:
    values = {"object": {"n": 1}, "oldObject": None, "request": {}, "params": None, "namespaceObject": None}
    spec = {"variables": [{"name": "broken", "expression": "object.none"}, {"name": "twice", "expression": "object.n * 2"},
                          {"name": "four", "expression": "int(variables.twice) * 2"}],
            "validations": [{"expression": "object.n == 1 || variables.broken == 1"}, {"expression": "variables.four == 4"},
                            {"expression": "variables.broken == 1"}]}
    strict, lax = policy(**spec), policy(**spec, failurePolicy="Ignore")
    assert [(refusal.index, refusal.message) for refusal in validate(Scope(strict, values), strict)] == [(
        2, "expression 'variables.broken == 1' resulted in error: composited variable \"broken\" fails to evaluate: no such key: none")]
    assert validate(Scope(lax, values), lax) == []


def test_a_policy_that_costs_too_much_says_so_once() -> None:
    costly = {"expression": "object.l.all(a, object.l.all(b, a == b || true))"}
    found = policy(validations=[costly] * 20)
    values = {"object": {"l": ["x" * 50] * 400}}
    assert {refusal.message for refusal in validate(Scope(found, values), found)} == {
        "validation failed due to running out of cost budget, no further validation rules will be run"}


def test_what_expressions_ask_of_the_authorizer_is_answered_once_each() -> None:
    values = {"object": {}, "authorizer": Authorizer({})}
    conditions = compiled("authorizer.group('').resource('pods').namespace('ns').check('create').allowed()")
    with pytest.raises(Unanswered) as asked:
        hold(conditions, values)
    answers = {asked.value.question: Answer(False, "no")}
    assert asked.value.question == Question(verb="create", resource="pods", namespace="ns")
    assert hold(conditions, {**values, "authorizer": Authorizer(answers)}) is False
