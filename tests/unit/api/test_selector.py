"""Selectors: what matches, and the words for what cannot be read."""
from __future__ import annotations

import pytest

from kubepy.api import selector
from kubepy.api.selector import SelectorError, parse_fields, parse_labels

QUALIFIED = ("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
             "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")


@pytest.mark.parametrize(("text", "labels", "expected"), [
    ("a=b", {"a": "b"}, True), ("a==b", {"a": "c"}, False), ("a!=b", {}, True), ("a in (b,c)", {"a": "c"}, True), ("a notin (b)", {}, True),
    ("a", {"a": ""}, True), ("!a", {"a": ""}, False), ("a>3", {"a": "4"}, True), ("a < 3", {"a": "4"}, False),
    ("in=yes", {"in": "yes"}, True),
    ("in in (yes,no)", {"in": "no"}, True), ("a=", {"a": ""}, True), ("a in ()", {"a": ""}, True), ("a=b,c", {"a": "b", "c": ""}, True),
    ("a in (,b)", {"a": ""}, True), ("", {}, True), ("a.b/c=d", {"a.b/c": "d"}, True),
])
def test_label_selector_matches(text: str, labels: dict[str, str], expected: bool) -> None:
    assert parse_labels(text).matches(labels) is expected


@pytest.mark.parametrize(("text", "message"), [
    ("=", "found '=', expected: !, identifier, or 'end of string'"),
    ("a=b=c", "found '=', expected: ',' or 'end of string'"),
    ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
    ("a in b", "unable to parse requirement: found 'b' expected: '('"),
    ("a like b", "unable to parse requirement: found 'like', expected: in, notin, =, ==, !=, gt, lt"),
    ("_a=c", f'unable to parse requirement: <nil>: Invalid value: "_a": {QUALIFIED}'),
    ("a=" + "a" * 64, f'unable to parse requirement: values[0][a]: Invalid value: "{"a" * 64}": must be no more than 63 bytes'),
    ("a=b,", "found '', expected: identifier after ','"),
    (",a=b", "found ',', expected: !, identifier, or 'end of string'"),
    ("!!a", "unable to parse requirement: found '!', expected: identifier"),
    ("!a=b", "found '=', expected: ',' or 'end of string'"),
    ("a not in (b)", "unable to parse requirement: found 'not', expected: in, notin, =, ==, !=, gt, lt"),
    ('{"matchLabels":{"a":"b"}}',
     f'unable to parse requirement: <nil>: Invalid value: "{{\\"matchLabels\\":{{\\"a\\":\\"b\\"}}}}": {QUALIFIED}'),
])
def test_malformed_label_selector_is_refused_in_kubernetes_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_labels(text)
    assert str(caught.value) == message


def test_selector_objects() -> None:
    chosen = selector.from_object({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]})
    assert chosen.matches({"a": "b"})
    assert not chosen.matches({"a": "b", "c": "d"})
    assert not selector.from_object(None).matches({})
    assert selector.from_object({}).matches({})


@pytest.mark.parametrize(("text", "fields", "expected"), [
    ("spec.nodeName=n1", {"spec.nodeName": "n1"}, True), ("spec.nodeName=", {}, True), ("a!=b", {"a": "b"}, False),
    ("a==b", {"a": "b"}, True),
    ("=", {}, True), ("a=b,", {"a": "b"}, True), (r"a=x\,y\=z\\", {"a": "x,y=z\\"}, True), ("a=b,a=c", {"a": "b"}, False),
])
def test_field_selector_matches(text: str, fields: dict[str, str], expected: bool) -> None:
    assert parse_fields(text).matches(fields) is expected


@pytest.mark.parametrize(("text", "message"), [
    ("spec.nodeName", "invalid selector: 'spec.nodeName'; can't understand 'spec.nodeName'"),
    ("a in (b)", "invalid selector: 'a in (b)'; can't understand 'a in (b)'"),
    (r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
    ("metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
])
def test_malformed_field_selector_is_refused_in_kubernetes_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_fields(text)
    assert str(caught.value) == message
