"""OpenAPI documents: shapes that kubectl explain and client generators rely on."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.schema import openapi
from kubepy.api.schema.openapi_path import Served, ServedSub
from kubepy.api.schema.openapi_protobuf import v2_protobuf, v3_protobuf

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
DEPLOYMENT = "io.k8s.api.apps.v1.Deployment"
STATUS = ServedSub("status", ("get", "patch", "update"))
SCALE = ServedSub("scale", ("get", "patch", "update"), "Scale", "autoscaling", "v1", "io.k8s.api.autoscaling.v1.Scale")
APPS = (Served("apps", "v1", "deployments", "Deployment", True, VERBS, DEPLOYMENT, (STATUS, SCALE)),)
EXEC = (Served("", "v1", "pods", "Pod", True, VERBS, "io.k8s.api.core.v1.Pod", (ServedSub("exec", ("create", "get")),)),)


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(item) for item in node.values()))
    return set().union(*(references(item) for item in node)) if isinstance(node, list) else set()


@pytest.fixture(scope="module")
def apps() -> dict[str, Any]:
    return openapi.v3_document("apps", "v1", APPS, "1.36")


def test_every_reference_of_a_v3_document_is_in_it(apps: dict[str, Any]) -> None:
    assert references(apps) <= {f"#/components/schemas/{name}" for name in apps["components"]["schemas"]}


def test_fields_that_go_always_writes_have_defaults(apps: dict[str, Any]) -> None:
    deployment = apps["components"]["schemas"][DEPLOYMENT]
    assert deployment["properties"]["status"]["default"] == {}
    assert deployment["properties"]["status"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStatus"}]
    assert "default" not in apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["selector"]


def test_operations_carry_what_clients_look_for(apps: dict[str, Any]) -> None:
    item = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert item["patch"]["operationId"] == "patchAppsV1NamespacedDeployment"
    assert [parameter["name"] for parameter in item["parameters"]] == ["name", "namespace", "pretty"]
    assert "fieldValidation" in [parameter["name"] for parameter in item["patch"]["parameters"]]
    scale = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"]
    assert scale["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}


def test_connections_are_named_by_method() -> None:
    paths = openapi.v3_document("", "v1", EXEC, "1.36")["paths"]
    assert paths["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["post"]["operationId"] == "connectCoreV1PostNamespacedPodExec"


def test_v2_refers_to_definitions_and_takes_custom_kinds() -> None:
    thing = Served("example.com", "v1", "things", "Thing", True, VERBS, "com.example.v1.Thing")
    schema = openapi.custom_schema(thing, {"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "n": {"type": "integer", "default": 1}, "u": {"type": "object", "nullable": True}}}}})
    custom = Served(*(getattr(thing, name) for name in Served.__slots__[:7]), schema=schema)
    document = openapi.v2_document({("apps", "v1"): APPS, ("example.com", "v1"): (custom,)}, "v1.36.0")
    assert references(document) <= {f"#/definitions/{name}" for name in document["definitions"]}
    assert document["definitions"]["com.example.v1.Thing"]["properties"]["spec"]["properties"] == {"n": {"type": "integer"}, "u": {}}
    put = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["put"]
    assert put["parameters"][0] == {"in": "body", "name": "body", "required": True, "schema": {"$ref": f"#/definitions/{DEPLOYMENT}"}}
    assert "application/strategic-merge-patch+json" not in document["paths"]["/apis/example.com/v1/things"]["get"].get("consumes", [])


@pytest.mark.parametrize(("schema", "shown"), [
    pytest.param({"description": "d", "x-kubernetes-preserve-unknown-fields": True, "properties": {"spec": {"type": "object"}}}, None,
                 id="at its root: nothing but that it is an object"),
    pytest.param({"properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}}}},
                 {"type": "object", "x-kubernetes-preserve-unknown-fields": True}, id="inside: no properties there"),
])
def test_a_kind_that_keeps_unknown_fields_names_no_properties_in_v2(schema: dict[str, Any], shown: dict[str, Any] | None) -> None:
    thing = Served("example.com", "v1", "things", "Thing", True, VERBS, "com.example.v1.Thing")
    own = openapi.custom_schema(thing, {"type": "object", **schema})
    custom = Served(*(getattr(thing, name) for name in Served.__slots__[:7]), schema=own)
    found = openapi.v2_document({("example.com", "v1"): (custom,)}, "v1.36.0")["definitions"]["com.example.v1.Thing"]
    if shown is None:
        assert found == {"type": "object", "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Thing", "version": "v1"}]}
    else:
        assert found["properties"]["spec"] == shown


META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@pytest.mark.parametrize(("schema", "v3", "v2"), [
    pytest.param({"type": "object", "x-kubernetes-embedded-resource": True, "required": ["spec"], "properties": {"spec": {}}},
                 ["apiVersion", "kind", "metadata", "spec"], ["apiVersion", "kind", "metadata", "spec"], id="with properties of its own"),
    pytest.param({"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
                 ["apiVersion", "kind", "metadata"], [], id="that keeps unknown fields: kubectl is told of none"),
])
def test_embedded_resources_have_a_type_and_metadata(schema: dict[str, Any], v3: list[str], v2: list[str]) -> None:
    thing = Served("example.com", "v1", "things", "Thing", True, VERBS, "com.example.v1.Thing")
    own = openapi.custom_schema(thing, {"type": "object", "properties": {"list": {"type": "array", "items": schema}}})
    custom = {("example.com", "v1"): (Served(*(getattr(thing, name) for name in Served.__slots__[:7]), schema=own),)}
    whole = openapi.v3_document("example.com", "v1", custom["example.com", "v1"], "1.36")
    for document, names, prefix in (
            (whole["components"]["schemas"], v3, "components/schemas"),
            (openapi.v2_document(custom, "v1.36.0")["definitions"], v2, "definitions")):
        found = document["com.example.v1.Thing"]["properties"]["list"]["items"]
        assert sorted(found.get("properties", {})) == names
        assert found.get("required", []) == [*schema.get("required", ()), *(("kind", "apiVersion") if names else ())]
        if names:
            assert f"#/{prefix}/{META}" in str(found["properties"]["metadata"])
        assert META in document


@pytest.mark.parametrize(("schema", "shown"), [
    pytest.param({"type": "string", "nullable": True, "maxLength": 3}, {"maxLength": 3}, id="what may be null has no type"),
    pytest.param({"type": "array", "x-kubernetes-preserve-unknown-fields": True, "items": {}},
                 {"x-kubernetes-preserve-unknown-fields": True}, id="a list of anything has none either"),
    pytest.param({"type": "object", "required": ["a", "b"], "properties": {"a": {"nullable": True}, "b": {"type": "string"}}},
                 {"type": "object", "required": ["b"], "properties": {"a": {}, "b": {"type": "string"}}},
                 id="what may be null is not required"),
    pytest.param({"type": "object", "required": ["a"], "additionalProperties": {"type": "string", "nullable": True}},
                 {"type": "object", "additionalProperties": {}}, id="nothing is required of a map of what may be null"),
])
def test_what_v2_says_of_custom_fields(schema: dict[str, Any], shown: dict[str, Any]) -> None:
    thing = Served("example.com", "v1", "things", "Thing", True, VERBS, "com.example.v1.Thing")
    own = openapi.custom_schema(thing, {"type": "object", "properties": {"f": schema}})
    custom = Served(*(getattr(thing, name) for name in Served.__slots__[:7]), schema=own)
    found = openapi.v2_document({("example.com", "v1"): (custom,)}, "v1.36.0")["definitions"]["com.example.v1.Thing"]
    assert found["properties"]["f"] == shown


def test_the_index_changes_with_the_documents() -> None:
    index = openapi.v3_index({"apis/apps/v1": b"{}", "api": b"x"})
    assert list(index["paths"]) == ["api", "apis/apps/v1"]
    assert index["paths"]["api"]["serverRelativeURL"].startswith("/openapi/v3/api?hash=")


def wire(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message: numbers with texts, or with bytes where they are no text."""
    fields, at = [], 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            fields.append((key >> 3, varint()))
        elif key & 7 == 1:
            fields.append((key >> 3, data[at:at + 8]))
            at += 8
        else:
            size = varint()
            fields.append((key >> 3, data[at:at + size]))
            at += size
    return fields


def inside(data: bytes, *path: int) -> list[Any]:
    found: list[Any] = [data]
    for number in path:
        found = [value for item in found for key, value in wire(item) if key == number]
    return found


def test_v2_protobuf_has_the_layout_of_gnostic() -> None:
    document = openapi.v2_document({("apps", "v1"): APPS}, "v1.36.0")
    raw = v2_protobuf(document)
    assert inside(raw, 1) == [b"2.0"]
    assert inside(raw, 2, 1) == [b"Kubernetes"]
    assert {item.decode() for item in inside(raw, 9, 1, 1)} == set(document["definitions"])
    assert {item.decode() for item in inside(raw, 8, 2, 1)} == set(document["paths"])
    assert b"patchAppsV1NamespacedDeployment" in inside(raw, 8, 2, 2, 8, 5)
    assert b'[{"group":"apps","kind":"Deployment","version":"v1"}]\n' in inside(raw, 9, 1, 2, 31, 2, 2)


def test_v3_protobuf_has_the_layout_of_gnostic(apps: dict[str, Any]) -> None:
    raw = v3_protobuf(apps)
    assert inside(raw, 1) == [b"3.0.0"]
    assert inside(raw, 2, 6) == [b"1.36"]
    assert {item.decode() for item in inside(raw, 4, 1, 1)} == set(apps["paths"])
    assert {item.decode() for item in inside(raw, 5, 1, 1, 1)} == set(apps["components"]["schemas"])
    assert b"patchAppsV1NamespacedDeployment" in inside(raw, 4, 1, 2, 10, 5)
