"""CEL expressions of built-in kinds are compiled when they are written."""
from __future__ import annotations

import pytest

from kubepy.api.cel.admission import OBJECT, PATCHES, Scope
from kubepy.api.cel.kind import Kind, kind
from kubepy.api.field import Path
from kubepy.apiserver.registry.expression import complaints, define, device_selector

AT = Path("x")


@pytest.mark.parametrize(("expression", "problem"), [
    ("request.userInfo.username == 'x' && has(object.spec)", ""),
    ("variables.count > 0 && request.namespace == 'a'", ""),
    ("authorizer.group('').resource('pods').check('get').allowed()", ""),
    ("object.x", "must evaluate to bool but got dyn"),
    ("1", "must evaluate to bool but got int"),
    ("request.foo == 1", "undefined field 'foo'"),
    ("variables.other == 1", "undefined field 'other'"),
    ("parameters.x == 1", "undeclared reference to 'parameters'"),
])
def test_conditions_see_the_request_and_give_a_bool(expression: str, problem: str) -> None:
    scope = Scope()
    assert not define(scope, "count", "size(object.spec.containers)", AT)
    told = "; ".join(str(error) for error in complaints(scope, expression, AT))
    assert problem in told if problem else not told


@pytest.mark.parametrize(("expression", "returns", "problem"), [
    ("Object{spec: Object.spec{replicas: 3}}", OBJECT, ""),
    ("[JSONPatch{op: 'add', path: '/a', value: Object.spec{b: 1}}]", PATCHES, ""),
    ("[]", PATCHES, "must evaluate to list(JSONPatch) but got list(dyn)"),
    ("[JSONPatch{op: 'add', where: '/a'}]", PATCHES, "expected type of field 'where' is '' but provided type is 'string'"),
])
def test_mutations_make_objects_or_patches(expression: str, returns: tuple[Kind, ...], problem: str) -> None:
    told = "; ".join(str(error) for error in complaints(Scope(mutating=True), expression, AT, returns))
    assert problem in told if problem else not told


@pytest.mark.parametrize(("expression", "valid"), [
    ("device.driver == 'a' && device.attributes['a'].model == 'b'", True),
    ("device.capacity['a'].memory.compareTo(quantity('1Gi')) >= 0", True),
    ("device.attributes['a'].ready", True),
    ("device.other == 'a'", False),
    ("'a'", False),
])
def test_device_selectors(expression: str, valid: bool) -> None:
    assert bool(device_selector(expression, AT)) is not valid


def test_types_are_named_as_cel_go_names_them() -> None:
    assert str(kind("map(string,list(dyn))")) == "map(string, list(dyn))"
