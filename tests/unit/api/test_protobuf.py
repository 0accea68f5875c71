"""Protobuf bodies, built here by hand as a Go client writes them."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.protobuf import MAGIC, ProtobufError, Unencodable, decode_body, encode_body, encode_event
from kubepy.api.protobuf.table import _lines, message


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


META = field(1, "web") + field(11, field(1, "app") + field(2, "a")) + field(11, field(1, "empty") + field(2, ""))


@pytest.mark.parametrize(("api_version", "kind", "raw", "expected"), [
    pytest.param("v1", "ConfigMap", field(1, META) + field(3, field(1, "k") + field(2, b"\x00\xff")),
                 {"metadata": {"name": "web", "labels": {"app": "a", "empty": ""}}, "binaryData": {"k": "AP8="}}, id="maps and bytes"),
    pytest.param("v1", "Pod", field(2, field(1, field(1, "v") + field(2, field(2, b""))) + field(2, field(10, field(1, field(2, field(
        2, field(1, 1) + field(3, "http"))))))),
        {"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"livenessProbe": {"httpGet": {"port": "http"}}}]}},
        id="inlined sources and handlers, integers or strings"),
    pytest.param("apps/v1", "Deployment", field(2, field(1, 0) + field(5, -1)), {"spec": {"replicas": 0, "minReadySeconds": -1}},
                 id="zero and negative numbers"),
    pytest.param("v1", "Pod", field(1, field(8, field(1, 1_700_000_000)) + field(9, b"")),
                 {"metadata": {"creationTimestamp": "2023-11-14T22:13:20Z", "deletionTimestamp": None}}, id="times"),
    pytest.param("v1", "LimitRange", field(2, field(1, field(2, field(1, "cpu") + field(2, field(1, "100m"))))),
                 {"spec": {"limits": [{"max": {"cpu": "100m"}}]}}, id="quantities"),
    pytest.param("v1", "Namespace", field(1, field(1, "web") + field(15, "")) + field(99, 1), {"metadata": {"name": "web"}},
                 id="fields of older and newer versions are passed over"),
    pytest.param("policy/v1", "DeleteOptions", field(1, 5), {"gracePeriodSeconds": 5}, id="options under any group"),
])
def test_messages_become_the_json_form(api_version: str, kind: str, raw: bytes, expected: dict[str, Any]) -> None:
    assert decode_body(envelope(api_version, kind, raw)) == ({"apiVersion": api_version, "kind": kind, **expected}, api_version, kind)


@pytest.mark.parametrize(("data", "why"), [
    pytest.param(b"nothing", "does not appear to be a protobuf message", id="another format"),
    pytest.param(envelope("v1", "Nothing", b""), 'no kind "Nothing"', id="an unknown kind"),
    pytest.param(envelope("v1", "Pod", field(1, "x" * 9)[:-4]), "unexpected EOF", id="cut off"),
    pytest.param(envelope("v1", "Pod", field(1, 7)), "wrong wire type", id="a number for a message"),
    pytest.param(envelope("v1", "Pod", b"\xff" * 20), "too long", id="an endless varint"),
])
def test_what_cannot_be_read_says_why(data: bytes, why: str) -> None:
    with pytest.raises(ProtobufError, match=why):
        decode_body(data)


def test_every_message_names_only_messages_there_are() -> None:
    names = set(_lines())
    scalars = {"string", "int", "sint", "bool", "bytes", "double"}
    assert all(part.type in names | scalars for name in names for part in message(name).values())


OBJECTS: list[Any] = [
    pytest.param({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "labels": {"app": "a", "empty": ""}},
                  "binaryData": {"k": "AP8="}}, id="maps and bytes"),
    pytest.param({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "creationTimestamp": "2023-11-14T22:13:20Z",
                                                         "managedFields": [{"manager": "m", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"k:{\"name\":\"c\"}": {".": {}}}}}]},
        "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "ephemeralContainers": [{"name": "e", "targetContainerName": "c"}],
                 "containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 0},
             "readinessProbe": {"tcpSocket": {"port": 80}}, "resources": {"requests": {"cpu": "100m"}}, "stdin": False}]}},
        id="inlined sources and handlers, integers or strings, quantities, explicit zeros"),
    pytest.param({"apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {"resourceVersion": "7", "remainingItemCount": 0},
                  "items": [{"metadata": {"name": "d", "generation": 1 << 40}, "spec": {"replicas": 0, "minReadySeconds": -1}}]},
                 id="lists, long and negative"),
    pytest.param({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404, "details": {"causes": [
        {"field": "f", "message": "ü"}]}}, id="a Status"),
    pytest.param({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
                  "spec": {"renewTime": "2023-11-14T22:13:20.123456Z", "acquireTime": "0001-01-01T00:00:02.000001Z"}},
                 id="microseconds, an early year"),
]


@pytest.mark.parametrize("obj", OBJECTS)
def test_what_is_written_reads_as_it_was(obj: dict[str, Any]) -> None:
    read = decode_body(encode_body(obj))[0]
    for key in ("selfLink", "resourceVersion", "continue"):  # of lists and a Status the zeros are written
        if read["metadata"].get(key) == "":
            del read["metadata"][key]
    assert read == obj


@pytest.mark.parametrize("obj", [
    pytest.param({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {}}, id="a custom resource"),
    pytest.param({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"novelty": 1}}, id="a field without a number"),
])
def test_nothing_is_written_with_something_missing(obj: dict[str, Any]) -> None:
    with pytest.raises(Unencodable):
        encode_body(obj)


def test_a_stream_leaves_out_what_has_no_number() -> None:
    body = encode_body({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"novelty": 1}}, lossy=True)
    assert decode_body(body)[0] == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}
    event = encode_event("ADDED", body)
    assert int.from_bytes(event[:4], "big") == len(event) - 4
