"""Ownership of fields and merging of applied configurations, on a small schema with every list and map type."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api import errors
from kubepy.api.apply import FieldManager, Shapes
from kubepy.api.apply.fieldset import difference, intersection, paths, recursive_difference, union

PORT = {"type": "object", "properties": {"port": {"type": "integer"}, "protocol": {"type": "string"}, "name": {"type": "string"}}}
DEFINITIONS: dict[str, Any] = {
    "Thing": {"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {
            "name": {"type": "string"}, "uid": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"},
            "selector": {"$ref": "#/definitions/Selector"},
            "args": {"type": "array", "items": {"type": "string"}},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "ports": {"type": "array", "items": PORT, "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["port", "protocol"]}}},
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}},
    "Selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
}
ZERO: dict[str, Any] = {"metadata": {}, "spec": {}, "status": {}}


def thing(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t"}, **parts}


def manager(**options: Any) -> FieldManager:
    return FieldManager(Shapes(DEFINITIONS).named("Thing"), "v1", **options)


def owned(obj: dict[str, Any]) -> dict[str, list[str]]:
    return {entry["manager"]: list(paths(entry["fieldsV1"])) for entry in obj["metadata"].get("managedFields", [])}


@pytest.mark.parametrize(("operation", "expected"), [
    pytest.param(union, {"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}, id="union keeps both and marks interior members"),
    pytest.param(difference, {"f:a": {"f:b": {}}}, id="difference keeps what lies below a member taken away"),
    pytest.param(recursive_difference, {}, id="recursive difference takes what lies below too"),
    pytest.param(intersection, {"f:a": {}}, id="intersection is what both have"),
])
def test_set_algebra(operation: Any, expected: dict[str, Any]) -> None:
    left = {"f:a": {".": {}, "f:b": {}}}
    right = {"f:a": {}, "f:d": {}} if operation is not union else {"f:a": {"f:c": {}}, "f:d": {}}
    assert operation(left, right) == expected


def test_creation_owns_what_differs_from_the_zero_value_with_interior_nodes() -> None:
    new = thing(spec={"replicas": 1, "args": ["x"], "tags": ["a"], "ports": [{"port": 80, "protocol": "TCP"}]}, status={})
    manager().update(ZERO, new, "me", "2026-01-01T00:00:00Z")
    assert owned(new)["me"] == [
        ".spec.args", ".spec.ports", ".spec.replicas", ".spec.tags", '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].port', '.spec.ports[port=80,protocol="TCP"].protocol', '.spec.tags[="a"]']


def test_a_key_left_out_of_a_list_item_takes_its_default() -> None:
    first = manager().apply(ZERO, thing(spec={"ports": [{"port": 80, "protocol": "TCP", "name": "a"}]}), "one", force=False, now="1")
    second = manager().apply(first, thing(spec={"ports": [{"port": 80, "name": "a"}]}), "two", force=False, now="2")
    assert second["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "name": "a"}]


def test_leaving_out_a_field_removes_it_unless_another_owns_it() -> None:
    live = manager().apply(ZERO, thing(spec={"replicas": 1, "tags": ["a", "b"]}), "one", force=False, now="1")
    live = manager().apply(live, thing(spec={"tags": ["b"]}), "two", force=False, now="2")
    live = manager().apply(live, thing(spec={}), "one", force=False, now="3")
    assert live["spec"] == {"tags": ["b"]}
    assert owned(live) == {"one": [".spec"], "two": ['.spec.tags[="b"]']}


def test_conflicts_name_each_field_and_owner_and_force_takes_them() -> None:
    live = manager().apply(ZERO, thing(spec={"replicas": 1, "selector": {"a": "b"}}), "one", force=False, now="1")
    wanted = thing(spec={"replicas": 2, "selector": {"a": "c"}})
    with pytest.raises(errors.Conflict) as caught:
        manager().apply(live, wanted, "two", force=False, now="2")
    assert caught.value.message == 'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.replicas\n- .spec.selector'
    forced = manager().apply(live, wanted, "two", force=True, now="2")
    assert owned(forced) == {"two": [".spec.replicas", ".spec.selector"]}


def test_merged_lists_keep_the_applied_order_with_other_items_between() -> None:
    def tags(*names: str) -> dict[str, Any]:
        return thing(spec={"tags": list(names)})
    live = manager().apply(ZERO, tags("a", "b", "c"), "one", force=False, now="1")
    live = manager().apply(live, tags("x", "c", "a"), "two", force=False, now="2")
    assert live["spec"]["tags"] == ["b", "x", "c", "a"]


@pytest.mark.parametrize(("spec", "message"), [
    pytest.param({"nope": 1}, ".spec.nope: field not declared in schema", id="unknown field"),
    pytest.param({"replicas": "1"}, ".spec.replicas: expected numeric (int or float), got string", id="wrong scalar"),
    pytest.param({"tags": "a"}, ".spec.tags: expected list, got &{a}", id="scalar for a list"),
    pytest.param({"tags": ["a", "a"]}, '.spec.tags: duplicate entries for key [="a"]', id="duplicate item"),
])
def test_a_configuration_that_does_not_fit_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ApiError) as caught:
        manager().apply(ZERO, thing(spec=spec), "me", force=False, now="1")
    assert (caught.value.code, caught.value.message) == (500, f"failed to create typed patch object (/t; v1, Kind=Thing): {message}"
                                                         .replace("; v1,", "; /v1,"))


def test_the_eleventh_updater_folds_the_oldest_into_one_entry() -> None:
    obj = thing(spec={"args": ["0"]})
    manager().update(ZERO, obj, "creator", "2026-01-01T00:00:00Z")
    obj["metadata"]["uid"] = "u"
    for number in range(11):
        new = {**obj, "metadata": {**obj["metadata"], "labels": {f"l{i}": "x" for i in range(number + 1)}}}
        manager().update(obj, new, f"m{number:02}", f"2026-01-01T00:01:{number:02}Z")
        obj = new
    names = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(names) == 10
    assert names[0] == "ancient-changes"


def test_resetting_stops_tracking_until_the_next_apply() -> None:
    obj = thing(spec={"replicas": 1}, metadata={"name": "t", "uid": "u"})
    manager().update(ZERO, obj, "me", "1")
    cleared = {**obj, "metadata": {"name": "t", "uid": "u", "managedFields": []}}
    manager().update(obj, cleared, "me", "2")
    assert "managedFields" not in cleared["metadata"]
    applied = manager().apply(cleared, thing(spec={"replicas": 1}), "gitops", force=False, now="3")
    assert set(owned(applied)) == {"before-first-apply", "gitops"}


def test_fields_an_endpoint_resets_are_not_owned() -> None:
    applied = manager(reset={"f:status": {}}).apply(ZERO, thing(spec={"replicas": 1}, status={"ready": True}), "me", force=False, now="1")
    assert owned(applied) == {"me": [".spec.replicas"]}
