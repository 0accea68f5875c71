"""What structural schemas do to objects, and what is demanded of schemas."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.cel.cost import estimate
from kubepy.api.field import Path
from kubepy.api.structural import fill, parse, prune
from kubepy.api.structural.default_validation import validate_defaults
from kubepy.api.structural.listtype import validate_lists
from kubepy.api.structural.rule import Rule, Rules
from kubepy.api.structural.rule_validation import validate_rules
from kubepy.api.structural.schema_validation import validate_schema
from kubepy.api.structural.validate import MISSING, Check


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT = {"type": "string"}
KEEP = {"x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(("node", "value", "left", "unknown"), [
    pytest.param(schema(a=TEXT), {"kind": "T", "metadata": {"x": 1}, "a": "x", "b": 1}, {"kind": "T", "metadata": {"x": 1}, "a": "x"},
                 ["b"],
                 id="unknown fields go, type and metadata stay"),
    pytest.param(schema(o={"type": "object", **KEEP, "properties": {"i": schema(a=TEXT)}}), {"o": {"x": 1, "i": {"a": "x", "b": 1}}},
                 {"o": {"x": 1, "i": {"a": "x"}}}, ["o.i.b"], id="below a field that keeps everything what is specified is pruned"),
    pytest.param(schema(l={"type": "array", "items": schema(a=TEXT)}), {"l": [{"a": "x", "b": 1}]}, {"l": [{"a": "x"}]}, ["l[0].b"],
                 id="items are pruned"),
    pytest.param(schema(m={"type": "object", "additionalProperties": schema(a=TEXT)}), {"m": {"k": {"b": 1}}}, {"m": {"k": {}}}, ["m.k.b"],
                 id="values of maps are pruned"),
])
def test_pruning(node: Any, value: Any, left: Any, unknown: list[str]) -> None:
    assert prune(value, parse(node)) == unknown
    assert value == left


@pytest.mark.parametrize(("node", "value", "filled"), [
    pytest.param(schema(a={**TEXT, "default": "x"}), {}, {"a": "x"}, id="a default where nothing was given"),
    pytest.param(schema(o={**schema(a={**TEXT, "default": "x"}), "default": {}}), {}, {"o": {"a": "x"}}, id="a default is filled itself"),
    pytest.param(schema(o=schema(a={**TEXT, "default": "x"})), {}, {}, id="no default without its parent"),
    pytest.param(schema(a={**TEXT, "nullable": True, "default": "x"}), {"a": None}, {"a": None}, id="null stays where it may be"),
    pytest.param(schema(a={**TEXT, "default": "x"}), {"a": None}, {"a": "x"}, id="null becomes the default"),
    pytest.param(schema(a=TEXT), {"a": None}, {}, id="null without default goes"),
    pytest.param(schema(l={"type": "array", "items": schema(a={**TEXT, "default": "x"})}), {"l": [{}]}, {"l": [{"a": "x"}]}, id="in items"),
])
def test_defaults(node: Any, value: Any, filled: Any) -> None:
    fill(value, parse(node))
    assert value == filled


@pytest.mark.parametrize(("node", "value", "messages"), [
    pytest.param({"type": "integer"}, "x", ['a: Invalid value: "string": a in body must be of type integer: "string"'], id="a wrong type"),
    pytest.param({"type": "integer"}, True, ['a: Invalid value: "boolean": a in body must be of type integer: "boolean"'],
                 id="a boolean is no number"),
    pytest.param({"type": "number"}, 3, [], id="an integer is a number"),
    pytest.param({"type": "integer"}, 3.0, [], id="a whole number is an integer"),
    pytest.param({**TEXT, "maxLength": 3}, "äöü", [], id="lengths are characters"),
    pytest.param({**TEXT, "format": "date"}, "2020-02-31",
                 ['a: Invalid value: "2020-02-31": a in body must be of type date: "2020-02-31"'], id="a date that is none"),
    pytest.param({**TEXT, "enum": ["x", None], "nullable": True}, None,
                 ['a: Unsupported value: null: supported values: "x", "null"'], id="null is never one of an enumeration"),
    pytest.param({"x-kubernetes-int-or-string": True}, 1.5,
                 ['a: Invalid value: "number": a in body must be of type integer,string: "number"'], id="int-or-string takes no fraction"),
    pytest.param({"type": "integer", "format": "int32"}, 1 << 31,
                 ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 in a'], id="beyond the format"),
])
def test_validation(node: Any, value: Any, messages: list[str]) -> None:
    assert [str(error) for error in Check(schema(a=node)).validate({"a": value})] == messages


def test_what_did_not_change_may_be_invalid() -> None:
    check = Check({**schema(a={**TEXT, "maxLength": 1}, b=TEXT), "required": ["c"]})
    old = {"a": "long", "b": "x"}
    assert not check.validate(dict(old), old)
    assert [error.field for error in check.validate({**old, "b": "y"}, old)] == ["c"]


def test_duplicates_of_keyed_lists() -> None:
    node = parse(schema(l={"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": schema(k=TEXT)}))
    assert [str(error) for error in validate_lists({"l": [{"k": "a"}, {"k": "a"}]}, node)] == ['l[1]: Duplicate value: {"k":"a"}']


@pytest.mark.parametrize(("node", "field"), [
    pytest.param({}, "s.type", id="no type at the root"),
    pytest.param(schema(a={}), "s.properties[a].type", id="no type of a field"),
    pytest.param(schema(a={"type": "array"}), "s.properties[a].items", id="a list of nothing"),
    pytest.param(schema(a={**TEXT, "allOf": [TEXT]}), "s.properties[a].allOf[0].type", id="types within alternatives"),
    pytest.param(schema(a={"type": "object", "anyOf": [{"properties": {"x": {"minLength": 1}}}]}), "s.properties[a].properties[x]",
                 id="a field only alternatives know"),
    pytest.param(schema(a={**TEXT, "pattern": "["}), "s.properties[a].pattern", id="a pattern that is none"),
])
def test_schemas_that_are_not_structural(node: Any, field: str) -> None:
    errors, _ = validate_schema(node, Path("s"))
    assert [error.field for error in errors] == [field]


def test_defaults_must_survive_pruning() -> None:
    errors = validate_defaults(parse(schema(a={**schema(x=TEXT), "default": {"x": "1", "y": "2"}})), Path("s"))
    assert [str(error) for error in errors] == ['s.properties[a].default: Invalid value: {"x":"1","y":"2"}: must not have unknown fields']


def ruled(rule: str, node: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return schema(a={**(node or {"type": "integer"}), "x-kubernetes-validations": [{"rule": rule, **more}]})


@pytest.mark.parametrize(("node", "value", "old", "messages"), [
    pytest.param(ruled("self > 1"), {"a": 2}, MISSING, [], id="a rule that holds"),
    pytest.param(ruled("self > 1", message="too small"), {"a": 1}, MISSING, ["a: Invalid value: 1: too small"], id="its message"),
    pytest.param(ruled("self > 1", messageExpression="'not ' + string(self)"), {"a": 1}, MISSING, ["a: Invalid value: 1: not 1"],
                 id="a message that is computed"),
    pytest.param(ruled("self >= oldSelf"), {"a": 1}, MISSING, [], id="a transition rule of a new value"),
    pytest.param(ruled("self >= oldSelf"), {"a": 1}, {"a": 2}, ["a: Invalid value: 1: failed rule: self >= oldSelf"],
                 id="of a changed one"),
    pytest.param(ruled("self > 1"), {"a": 1}, {"a": 1}, [], id="what did not change is not asked again"),
    pytest.param(ruled("oldSelf.hasValue() || self == 1", optionalOldSelf=True), {"a": 2}, MISSING,
                 ["a: Invalid value: 2: failed rule: oldSelf.hasValue() || self == 1"], id="an optional old value"),
    pytest.param(ruled("10 / self == 5"), {"a": 0}, MISSING,
                 ['a: Invalid value: "integer": division by zero evaluating rule: 10 / self == 5'],
                 id="a rule that fails"),
    pytest.param(ruled("self.b__dash__c == 'x'", schema(**{"b-c": TEXT})), {"a": {"b-c": "x"}}, MISSING, [], id="names are escaped"),
    pytest.param(ruled("self > 1.5", {"type": "number"}), {"a": 2}, MISSING, [], id="whole numbers of a number field are floating"),
    pytest.param(ruled("self == ['b', 'a']", {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}), {"a": ["a", "b"]},
                 MISSING, [], id="sets are equal in any order"),
    pytest.param(ruled("self < duration('2m')", {**TEXT, "format": "duration"}), {"a": "90s"}, MISSING, [], id="durations are durations"),
    pytest.param(ruled("self + 1 == 2", {"x-kubernetes-int-or-string": True}), {"a": "1"}, MISSING,
                 ["a: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro "
                  "signature for rule: self + 1 == 2"], id="an integer or text that is a text"),
    pytest.param(ruled("self.all(x, self.all(y, self.all(z, x == y || y == z || x == z || true)))", {"type": "array", "items": TEXT}),
                 {"a": ["x"] * 80}, MISSING, ["a: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further "
                                              "validation rules will be run due to call cost exceeds limit for rule: self.all(x, self.all("
                                              "y, self.all(z, x == y || y == z || x == z || true)))"], id="one that costs too much"),
])
def test_rules(node: Any, value: Any, old: Any, messages: list[str]) -> None:
    assert [str(error) for error in Rules(parse(node)).check(value, old)] == messages


ALL = "self.all(x, true)"


@pytest.mark.parametrize(("node", "rule", "cost"), [
    pytest.param({"type": "array", "items": {"type": "number"}}, ALL, 4718591, id="a request full of numbers"),
    pytest.param({"type": "array", "items": {"type": "number"}, "maxItems": 10}, ALL, 32, id="ten numbers"),
    pytest.param({"type": "array", "items": TEXT}, ALL, 3145727, id="texts are longer"),
    pytest.param({"type": "object", "additionalProperties": {"type": "number"}}, ALL, 1348169, id="keys and values"),
    pytest.param(TEXT, "self.contains('test')", 314574, id="a text as long as a request"),
    pytest.param({**TEXT, "maxLength": 10}, "self.contains('test')", 2, id="a short text"),
])
def test_costs_are_estimated_as_upstream_does(node: Any, rule: str, cost: int) -> None:
    found = parse(node)
    assert estimate(Rule({"rule": rule}, found).program.checked, found) == cost


@pytest.mark.parametrize(("node", "text"), [
    pytest.param(ruled("self > 'x'"), "found no matching overload for '_>_' applied to '(int, string)'", id="types that do not fit"),
    pytest.param(ruled("self.c == 1", schema(b=TEXT)), "undefined field 'c'", id="an unknown field"),
    pytest.param(ruled("self + 1"), "cel expression must evaluate to a bool", id="no boolean"),
    pytest.param(ruled("self.all(x, self.all(y, x == y))", {"type": "array", "items": TEXT}), "exceeds budget by factor of more than 100x",
                 id="too costly"),
])
def test_rules_that_are_refused(node: Any, text: str) -> None:
    assert any(text in str(error) for error in validate_rules(parse(node), Path("s")))


def test_bounds_make_rules_cheap() -> None:
    node = ruled("self.all(x, self.all(y, x == y))", {"type": "array", "maxItems": 10, "items": {**TEXT, "maxLength": 10}})
    assert not validate_rules(parse(node), Path("s"))
