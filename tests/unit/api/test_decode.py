"""Decoding: Go's normal form, strict decoding's complaints, and the words for wrong types."""
from __future__ import annotations

from typing import Any

import orjson
import pytest

from kubepy.api import codec
from kubepy.api.errors import BadRequest
from kubepy.api.schema.accept import accept
from kubepy.api.schema.decode import DecodeError, StrictError, decode, decode_object
from kubepy.api.schema.explain import explain
from kubepy.api.schema.shape import Struct, of_api_version

CONTAINER = {"name": "c", "image": "i"}


def shape(api_version: str, kind: str) -> Struct:
    found = of_api_version(api_version, kind)
    assert found is not None
    return found


def deployment(spec: str) -> str:
    return '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{%s}}' % spec  # noqa: UP031 (braces)


def pod(spec: str) -> str:
    return '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{%s}}' % spec  # noqa: UP031


def configmap(rest: str) -> str:
    return '{"apiVersion":"v1","kind":"ConfigMap",%s}' % rest  # noqa: UP031


def decode_text(text: str, validation: Any = "Warn") -> tuple[dict[str, Any], list[str]]:
    value = orjson.loads(text)
    body = codec.Body(value, text.encode())
    return decode_object(shape(value["apiVersion"], value["kind"]), value, validation=validation, body=body)


@pytest.mark.parametrize(("text", "message"), [
    (deployment('"replicas":"3"'), "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (deployment('"replicas":1.5'), "cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (deployment('"replicas":2.0'), "cannot unmarshal number 2.0 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (deployment('"replicas":3000000000'),
     "cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    (pod('"containers":{"name":"c"}'), "cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
    (pod('"containers":[{"env":[{"name":"A","value":1}]}]'),
     "cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"),
    (pod('"containers":[{"command":"sleep 1"}]'),
     "cannot unmarshal string into Go struct field Container.spec.containers.command of type []string"),
    (configmap('"immutable":"true"'), "cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"),
    (configmap('"metadata":"one"'), "cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"),
    (configmap('"data":{"k":{"l":"m"}}'), "cannot unmarshal object into Go struct field ConfigMap.data of type string"),
    (configmap('"data":["a"]'), "cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"),
])
def test_wrong_types_are_refused_in_go_words(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_text(text)
    kind = orjson.loads(text)["kind"]
    assert caught.value.message == f'{kind} in version "v1" cannot be handled as a {kind}: json: {message}'


@pytest.mark.parametrize(("text", "problems"), [
    (configmap('"metadata":{"name":"a","nolabel":1},"datum":{}'), ['unknown field "metadata.nolabel"', 'unknown field "datum"']),
    (configmap('"data":{"k":"v","k":"w"},"extra":1'), ['duplicate field "data.k"', 'unknown field "extra"']),
    (pod('"containers":[{"imagePullPolice":"x","ports":[{"containerport":80}]}],"volumes":[{"emptydir":{}}]'),
     ['unknown field "spec.containers[0].imagePullPolice"', 'unknown field "spec.containers[0].ports[0].containerport"',
      'unknown field "spec.volumes[0].emptydir"']),
    ('{"apiVersion":"v1","kind":"ConfigMap","Data":{"k":"v"}}', ['unknown field "Data"']),
])
def test_unknown_and_duplicate_fields_are_named(text: str, problems: list[str]) -> None:
    assert decode_text(text)[1] == problems
    assert decode_text(text, "Ignore")[1] == []
    with pytest.raises(BadRequest, match="strict decoding error: "):
        decode_text(text, "Strict")


def test_yaml_duplicates_are_told_in_yaml_words() -> None:
    body = codec.parse_body(b"data:\n  k: v\n  k: w\nnosuch: 1\n", "ConfigMap", yaml=True)
    configmap_shape = shape("v1", "ConfigMap")
    assert decode(configmap_shape, body.value, body=body)[1] == ['line 3: key "k" already set in map', 'unknown field "nosuch"']
    with pytest.raises(StrictError) as caught:
        decode(configmap_shape, body.value, body=body, validation="Strict")
    assert str(caught.value) == ('strict decoding error: yaml: unmarshal errors:\n  line 3: key "k" already set in map, '
                                 'unknown field "nosuch"')


NORMAL: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("v1", "ConfigMap", {"metadata": {"labels": None, "finalizers": []}, "data": {"a": None}, "immutable": None},
     {"metadata": {}, "data": {"a": ""}}),
    ("v1", "Pod",
     {"spec": {"hostNetwork": False, "nodeName": "", "priority": 0, "containers": [CONTAINER | {"args": ["a", None], "tty": False}]}},
     {"metadata": {}, "spec": {"priority": 0, "containers": [CONTAINER | {"args": ["a", ""], "resources": {}}]}, "status": {}}),
    ("v1", "Pod", {"spec": {"containers": [CONTAINER | {"resources": {"limits": {"cpu": "1000m", "memory": 1000000}}}]}},
     {"metadata": {}, "spec": {"containers": [CONTAINER | {"resources": {"limits": {"cpu": "1", "memory": "1M"}}}]}, "status": {}}),
    ("rbac.authorization.k8s.io/v1", "Role", {"rules": []}, {"metadata": {}, "rules": []}),
    ("rbac.authorization.k8s.io/v1", "Role", {}, {"metadata": {}, "rules": None}),
    ("coordination.k8s.io/v1", "Lease", {"spec": {"renewTime": "2026-01-01T01:00:00.123456+01:00", "leaseTransitions": 0}},
     {"metadata": {}, "spec": {"renewTime": "2026-01-01T00:00:00.123456Z", "leaseTransitions": 0}}),
    ("v1", "Secret", {"data": {"k": "YQ==\n", "e": ""}}, {"metadata": {}, "data": {"k": "YQ==", "e": ""}}),
    ("v1", "PersistentVolumeClaim", {"spec": {"storageClassName": "", "volumeName": ""}},
     {"metadata": {}, "spec": {"storageClassName": "", "resources": {}}, "status": {}}),
]


@pytest.mark.parametrize(("api_version", "kind", "sent", "expected"), NORMAL, ids=[f"{case[1]}-{at}" for at, case in enumerate(NORMAL)])
def test_objects_come_out_in_go_form_both_ways(api_version: str, kind: str, sent: dict[str, Any], expected: dict[str, Any]) -> None:
    assert accept(shape(api_version, kind), sent) == expected
    assert explain(shape(api_version, kind), sent) == (expected, [])


@pytest.mark.parametrize(("text", "message"), [
    ('{"apiVersion":"v1","kind":"Pod"}',
     'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion'),
    ('{"apiVersion":"v9","kind":"ConfigMap"}',
     'ConfigMap in version "v9" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v9" in scheme '
     '"pkg/api/legacyscheme/scheme.go:30"'),
])
def test_objects_of_another_kind_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_object(shape("v1", "ConfigMap"), orjson.loads(text))
    assert caught.value.message == message


def test_unknown_fields_below_items_and_additional_properties_of_a_schema_go_without_a_word() -> None:
    schema = {"type": "object", "foo": 1, "properties": {"l": {"type": "array", "items": {"type": "string", "bar": 1}},
                                                         "m": {"additionalProperties": False},
                                                         "n": {"additionalProperties": {"minimum": 0}}}}
    crd = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}
    obj, problems = decode(shape("apiextensions.k8s.io/v1", "CustomResourceDefinition"), crd)
    assert problems == ['unknown field "spec.versions[0].schema.openAPIV3Schema.foo"']
    assert obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] == {
        "l": {"type": "array", "items": {"type": "string"}}, "m": {"additionalProperties": False},
        "n": {"additionalProperties": {"minimum": 0}}}


def test_types_nested_too_deep_are_refused() -> None:
    text = '{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{"versions":[{"schema":{"openAPIV3Schema":'
    value = codec.parse_json((text + '{"not":' * 5000 + "{}" + "}" * 5000 + "}}]}}").encode())
    with pytest.raises(DecodeError, match="exceeded max depth"):
        decode(shape("apiextensions.k8s.io/v1", "CustomResourceDefinition"), value)


@pytest.mark.parametrize(("sent", "message"), [
    ('"noon"', 'parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006"'),
    ('"2026-13-01T00:00:00Z"', 'parsing time "2026-13-01T00:00:00Z": month out of range'),
    ('"2026-01-01 00:00:00Z"', 'parsing time "2026-01-01 00:00:00Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 00:00:00Z" as "T"'),
    ("5", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"),
])
def test_times_that_are_none(sent: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_text(configmap(f'"metadata":{{"creationTimestamp":{sent}}}'))
    assert caught.value.message.endswith(f"as a ConfigMap: {message}")
