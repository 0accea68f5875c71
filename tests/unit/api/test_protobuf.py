"""Protobuf bodies, built here by hand as a Go client writes them."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.protobuf import MAGIC, ProtobufError, decode_body
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
    pytest.param("policy/v1", "DeleteOptions", field(1, 5), {"gracePeriodSeconds": 5}, id="options under any group"),
])
def test_messages_become_the_json_form(api_version: str, kind: str, raw: bytes, expected: dict[str, Any]) -> None:
    assert decode_body(envelope(api_version, kind, raw)) == ({"apiVersion": api_version, "kind": kind, **expected}, api_version, kind)


@pytest.mark.parametrize(("data", "why"), [
    pytest.param(b"nothing", "does not appear to be a protobuf message", id="another format"),
    pytest.param(envelope("v1", "Nothing", b""), 'no kind "Nothing"', id="an unknown kind"),
    pytest.param(envelope("v1", "Pod", field(99, 1)), "has no field 99", id="a field of a newer version"),
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
