"""Patches: results, order of lists, and refusals."""
from __future__ import annotations

import copy
from typing import Any

import pytest

from kubepy.api.gofmt import go_value
from kubepy.api.patch.json import BadJsonPatch, JsonPatchError, apply_json_patch, check_json_patch
from kubepy.api.patch.merge import apply_merge_patch
from kubepy.api.patch.strategic import StrategicError, apply_strategic_patch
from kubepy.api.schema.shape import Struct, of_api_version


def shape(api_version: str, kind: str) -> Struct:
    found = of_api_version(api_version, kind)
    assert found is not None
    return found


@pytest.mark.parametrize(("document", "patch", "expected"), [
    ({"a": "b"}, {"a": None, "c": {"d": None, "e": 1}}, {"c": {"e": 1}}), ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
    ({"a": [1]}, {"a": [2]}, {"a": [2]}), ({"a": 1}, {"a": {"b": {}}}, {"a": {"b": {}}}), ({}, [1], [1]),
])
def test_merge_patch(document: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy(document)
    assert apply_merge_patch(document, patch) == expected
    assert document == before


@pytest.mark.parametrize(("document", "patch", "expected"), [
    ({"d": {"a": "1"}}, [{"op": "add", "path": "/d/c", "value": "3"}], {"d": {"a": "1", "c": "3"}}),
    ({"d": {"a": "1"}}, [{"op": "copy", "from": "/d/a", "path": "/d/b"}, {"op": "move", "from": "/d/a", "path": "/d/c"}],
     {"d": {"b": "1", "c": "1"}}),
    ({"l": ["a"]}, [{"op": "add", "path": "/l/-", "value": "c"}, {"op": "add", "path": "/l/1", "value": "b"}], {"l": ["a", "b", "c"]}),
    ({"l": ["a", "b"]}, [{"op": "remove", "path": "/l/0"}], {"l": ["b"]}),
    ({"l": ["a", "b"]}, [{"op": "remove", "path": "/l/-1"}], {"l": ["a"]}),
    ({"a": {"x/y": 1}}, [{"op": "replace", "path": "/a/x~1y", "value": 2}], {"a": {"x/y": 2}}),
    ({"a": {}}, [{"op": "replace", "path": "/a/none", "value": 2}], {"a": {"none": 2}}),
    ({"a": {}}, [{"op": "copy", "from": "/a/none", "path": "/a/b"}], {"a": {"b": None}}),
    ({"a": [{"b": 1}]}, [{"op": "test", "path": "/a/0/b", "value": 1}, {"op": "replace", "path": "/a/0/b", "value": 2}], {"a": [{"b": 2}]}),
], ids=["add", "copy and move", "insert", "remove from a list", "remove the last", "escaped", "replace what is missing",
        "copy what is missing", "test"])
def test_json_patch(document: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy(document)
    assert apply_json_patch(document, check_json_patch(patch)) == expected
    assert document == before


@pytest.mark.parametrize("operation", [
    {"op": "remove", "path": "/none"}, {"op": "add", "path": "/none/x", "value": 1}, {"op": "test", "path": "/a", "value": True},
    {"op": "replace", "path": "/l/5", "value": 1}, {"op": "fly", "path": "/a"}, {"op": "move", "from": "/none", "path": "/b"},
    {"op": "add"},
])
def test_json_patch_that_does_not_apply(operation: dict[str, Any]) -> None:
    with pytest.raises(JsonPatchError):
        apply_json_patch({"a": 1, "l": []}, [operation])


def test_no_json_patch_at_all() -> None:
    with pytest.raises(BadJsonPatch, match="into Go value of type jsonpatch"):
        check_json_patch({})


DEPLOYMENT = {"metadata": {"labels": {"x": "1"}, "finalizers": ["e/a", "e/b"]},
              "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                       "template": {"spec": {"nodeSelector": {"d": "ssd"}, "containers": [
                           {"name": "one", "image": "one:1"}, {"name": "two", "image": "two:1"}, {"name": "three", "image": "three:1"}]}}}}


def containers(patch: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": patch}}}


@pytest.mark.parametrize(("patch", "path", "expected"), [
    ({"metadata": {"labels": {"$patch": "replace", "z": "3"}}}, "metadata.labels", {"z": "3"}),
    (containers({"nodeSelector": {"$patch": "delete"}}), "spec.template.spec.nodeSelector", {}),
    (containers({"$setElementOrder/containers": [{"name": "three"}, {"name": "one"}, {"name": "two"}],
                 "containers": [{"name": "one", "image": "n"}]}), "names", ["three", "one", "two"]),
    (containers({"$setElementOrder/containers": [{"name": "one"}, {"name": "four"}, {"name": "two"}],
                 "containers": [{"name": "four"}, {"name": "three", "$patch": "delete"}]}), "names", ["one", "four", "two"]),
    (containers({"containers": [{"$patch": "replace"}, {"name": "only"}]}), "names", ["only"]),
    (containers({"containers": [{"name": "two", "image": "two:2"}]}), "names", ["one", "two", "three"]),
    (containers({"containers": [{"name": "new"}]}), "names", ["new", "one", "two", "three"]),
    ({"metadata": {"finalizers": ["e/c", "e/a"]}}, "metadata.finalizers", ["e/c", "e/a", "e/b"]),
    ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["e/a", "e/none"]}}, "metadata.finalizers", ["e/b"]),
    ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["e/b"], "$setElementOrder/finalizers": ["e/d", "e/a"], "finalizers": ["e/d"]}},
     "metadata.finalizers", ["e/d", "e/a"]),
    ({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}, "spec.strategy", {"type": "Recreate"}),
    ({"spec": {"strategy": {"type": "Recreate"}}}, "spec.strategy", {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
    ({"metadata": {"annotations": {"a": None, "b": "c"}}}, "metadata.annotations", {"b": "c"}),
    ({"metadata": {"ownerReferences": [{"uid": "u", "$patch": "delete"}]}}, "metadata.ownerReferences", []),
], ids=["replace a map", "delete a map", "order", "order, a new one and a deletion", "replace a list", "merge by name",
        "a new one comes first",
        "a set", "delete from a set", "delete and order", "retain keys", "keys are kept", "nulls in a new map", "delete from nothing"])
def test_strategic_patch(patch: dict[str, Any], path: str, expected: Any) -> None:
    before = copy.deepcopy(DEPLOYMENT)
    result: Any = apply_strategic_patch(DEPLOYMENT, patch, shape("apps/v1", "Deployment"))
    assert before == DEPLOYMENT
    if path == "names":
        assert [item["name"] for item in result["spec"]["template"]["spec"]["containers"]] == expected
        return
    for part in path.split("."):
        result = result[part]
    assert result == expected


@pytest.mark.parametrize(("patch", "code", "message"), [
    ({"metadata": {"labels": {"$patch": "merge"}}}, 500, "unknown patch type: merge in map: map[$patch:merge]"),
    (containers({"$setElementOrder/containers": [{"name": "one"}], "containers": [{"name": "five", "image": "five:1"}]}), 500,
     "The order in patch list:\n[map[image:five:1 name:five]]\n doesn't match $setElementOrder list:\n[map[name:one]]\n"),
    ({"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}}, 400, "invalid patch format of retainKeys"),
    (containers({"containers": [{"$patch": "delete"}]}), 500, "map: map[$patch:delete] does not contain declared merge key: name"),
])
def test_strategic_patch_that_does_not_apply(patch: dict[str, Any], code: int, message: str) -> None:
    with pytest.raises(StrategicError) as caught:
        apply_strategic_patch(DEPLOYMENT, patch, shape("apps/v1", "Deployment"))
    assert (caught.value.code, str(caught.value)) == (code, message)


def test_atomic_lists_are_replaced_and_ports_are_merged_by_number() -> None:
    service = {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]}}
    patch = {"spec": {"ports": [{"port": 53, "name": "dns"}, {"port": 80, "targetPort": 9}]}}
    assert apply_strategic_patch(service, patch, shape("v1", "Service"))["spec"]["ports"] == [
        {"port": 53, "name": "dns"}, {"name": "http", "port": 80, "targetPort": 9}, {"name": "https", "port": 443}]
    cluster_role = shape("rbac.authorization.k8s.io/v1", "ClusterRole")
    role = apply_strategic_patch({"rules": [{"verbs": ["get"]}]}, {"rules": [{"verbs": ["list"]}]}, cluster_role)
    assert role["rules"] == [{"verbs": ["list"]}]


def test_go_prints_values_its_own_way() -> None:
    value = {"b": [1, "x"], "a": None, "c": {"d": True, "e": 1e6, "f": 0.5, "g": -1.25e-7}}
    assert go_value(value) == "map[a:<nil> b:[1 x] c:map[d:true e:1e+06 f:0.5 g:-1.25e-07]]"
