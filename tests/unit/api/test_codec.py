"""Bytes: canonical storage, splicing, escapes, and the words for bodies that cannot be read."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api import codec
from kubepy.api.errors import BadRequest

HEAD = '{"apiVersion":"v1","kind":"Con ...'
STRUCT = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
START = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":'


def test_stored_bytes_are_canonical_and_the_version_is_spliced_after_the_uid() -> None:
    obj = {"apiVersion": "v1", "data": {"z": "<&>", "a": "ü"}, "kind": "ConfigMap",
           "metadata": {"labels": {"b": "2", "a": "1"}, "uid": "u-1", "name": "one", "resourceVersion": "7", "namespace": "n",
                        "managedFields": [{"fieldsType": "FieldsV1", "manager": "m", "operation": "Update"}]}}
    raw = codec.stored(obj)
    assert raw == (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"one","namespace":"n","uid":"u-1","labels":{"a":"1","b":"2"},'
                   b'"managedFields":[{"manager":"m","operation":"Update","fieldsType":"FieldsV1"}]},'
                   b'"data":{"a":"\xc3\xbc","z":"\\u003c\\u0026\\u003e"}}')
    assert b'"uid":"u-1","resourceVersion":"12","labels"' in codec.splice(raw, 12)
    assert codec.splice(b'{"metadata":{}}', 3) == b'{"metadata":{"resourceVersion":"3"}}'


def test_pretty_answers_are_indented_and_end_without_newline() -> None:
    assert codec.pretty(b'{"a":{},"b":["<"]}\n') == b'{\n  "a": {},\n  "b": [\n    "\\u003c"\n  ]\n}'


@pytest.mark.parametrize(("raw", "message"), [
    (b"hello", "invalid character 'h' looking for beginning of value (68656c6c6f)"),
    (START, f"unexpected end of JSON input ({HEAD})"),
    (START + b'"a"},}', f"invalid character '}}' looking for beginning of object key string ({HEAD})"),
    (START + b'"a"}}{}', f"invalid character '{{' after top-level value ({HEAD})"),
    (b"", "unexpected end of JSON input (<empty>)"),
    (b"  \n", "unexpected end of JSON input (20200a)"),
    (b"[]", f"json: cannot unmarshal array into Go value of type {STRUCT} (5b5d)"),
    (START + b'"a"},"data":{"k":"\\x"}}', f"invalid character 'x' in string escape code ({HEAD})"),
    (b"{'apiVersion':'v1'}", "invalid character '\\'' looking for beginning of object key string ({'apiVersion':'v1'})"),
    (b'\xef\xbb\xbf{"a":1}', "invalid character 'ï' looking for beginning of value (efbbbf7b2261223a317d)"),
    (b'{"a":' * 10001 + b"1" + b"}" * 10001,
     """invalid character '{' exceeded max depth ({"a":{"a":{"a":{"a":{"a":{"a": ...)"""),
    (b'{"a" 1}', """invalid character '1' after object key ({"a" 1})"""),
    (b'{"a":nul}', """invalid character '}' in literal null (expecting 'l') ({"a":nul})"""),
    (b'{"a":-}', """invalid character '}' in numeric literal ({"a":-})"""),
    (b'{"a":1.}', """invalid character '}' after decimal point in numeric literal ({"a":1.})"""),
])
def test_broken_json_is_refused_in_go_words(raw: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        codec.parse_body(raw, "ConfigMap")
    head = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
    assert caught.value.message == head + message


@pytest.mark.parametrize(("raw", "value"), [
    (b'{"k":"\xff"}', {"k": "\ufffd"}), (b'{"k":"\\ud800"}', {"k": "\ufffd"}), (b'{"k":"\\ud83d\\ude00"}', {"k": "😀"}), (b"null", None),
    (b'{"k":"\\ud800","n":99999999999999999999}', {"k": "\ufffd", "n": 1e20}), (b'{"k":"\\ud800","n":-9223372036854775808}',
                                                                            {"k": "\ufffd", "n": -(2**63)}),
    (b'{"a":' * 3 + b"[1.5,2,null]" + b"}" * 3, {"a": {"a": {"a": [1.5, 2, None]}}}),
])
def test_json_is_read_as_go_reads_it(raw: bytes, value: Any) -> None:
    assert codec.parse_body(raw, "ConfigMap").value == value


def test_deep_json_is_read() -> None:
    assert codec.parse_body(b'{"a":' * 9000 + b"1" + b"}" * 9000, "ConfigMap").value


@pytest.mark.parametrize(("raw", "value"), [
    (b"a: y\nb: 'y'\nc: 010\nd: 0x1f\ne: 1e3\nf: 2001-01-01\n", {"a": True, "b": "y", "c": 8, "d": 31, "e": 1000.0, "f": "2001-01-01"}),
    (b"1: a\ntrue: b\n~: c\n", {"1": "a", "true": "b", "null": "c"}),
    (b"a: &x {k: v}\nb: {<<: *x, l: w}\n", {"a": {"k": "v"}, "b": {"k": "v", "l": "w"}}),
    (b"a: !!str 1\nb: off\nc: 1_000\n", {"a": "1", "b": False, "c": 1000}),
])
def test_yaml_is_read_as_yaml_1_1(raw: bytes, value: Any) -> None:
    assert codec.parse_body(raw, "ConfigMap", yaml=True).value == value


def test_yaml_problems_have_kubernetes_words() -> None:
    assert codec.parse_body(b"data:\n  k: v\n  k: w\n", "C", yaml=True).duplicates == ('line 3: key "k" already set in map',)
    with pytest.raises(BadRequest) as caught:
        codec.parse_body(b"a: [b\nc: d", "ConfigMap", yaml=True)
    assert caught.value.message == ("the object provided is unrecognized (must be of type ConfigMap): "
                                    "yaml: line 1: did not find expected ',' or ']' (613a205b620a633a2064)")


@pytest.mark.parametrize(("raw", "expected"), [
    (b'{"a":{"k":"v","k":"w"}}', True), (b'{"a": {"k": "v"}, "b": 1}', False), (b'{"a":"\\u003c"}\n', False), (b'{"a":"x\\":"}', False),
])
def test_duplicate_keys_are_suspected_cheaply(raw: bytes, expected: bool) -> None:
    assert codec.has_duplicates(raw, codec.parse_json(raw)) is expected
