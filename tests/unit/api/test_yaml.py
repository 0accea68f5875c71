"""YAML bodies as JSON values: what Go's reader makes of them, and what is too much."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.yaml import YamlProblem, parse_yaml


@pytest.mark.parametrize(("text", "value"), [
    pytest.param("", None, id="nothing"),
    pytest.param("# only a comment\n", None, id="a comment"),
    pytest.param("a: yes\nb: 010\nc: 1_000\nd: 2026-01-01\ne: 'yes'\nf: ~\ng: 0x10\nh: 1.5\n",
                 {"a": True, "b": 8, "c": 1000, "d": "2026-01-01", "e": "yes", "f": None, "g": 16, "h": 1.5}, id="plain words"),
    pytest.param("1: a\ntrue: b\nnull: c\n", {"1": "a", "true": "b", "null": "c"}, id="keys become texts"),
    pytest.param("a: !!str 3\nb: !!int '3'\nc: !own x\n", {"a": "3", "b": 3, "c": "x"}, id="tags"),
    pytest.param("a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}\n", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 2}}, id="aliases and merges"),
    pytest.param("a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}, id="an anchor set anew"),
    pytest.param("{<<: [{a: 1}, {a: 2, b: 3}]}", {"a": 1, "b": 3}, id="the first of merged maps wins"),
    pytest.param("a: 1\n---\n[", {"a": 1}, id="only the first document"),
])
def test_values(text: str, value: Any) -> None:
    found, problems = parse_yaml(text.encode())
    assert found == value
    assert problems == ()


@pytest.mark.parametrize(("text", "why"), [
    pytest.param("a: b: c\n", "mapping values are not allowed", id="not YAML"),
    pytest.param("- " * 2000, "exceeded max depth", id="deep blocks"),
    pytest.param("[" * 2000, "exceeded max depth", id="deep brackets"),
    pytest.param("[" + "[]," * 600_000 + "]", "more than 500000 values", id="many values"),
    pytest.param("a: *b\n", "unknown anchor 'b' referenced", id="an unknown anchor"),
    pytest.param("a: &a [*a]\n", "anchor 'a' value contains itself", id="an alias of itself"),
    pytest.param("? [a]\n: b\n", "invalid map key", id="a list as a key"),
    pytest.param("? [a]\n: b\nc: d: e\n", "mapping values are not allowed", id="what is not YAML is told first"),
    pytest.param("<<: 3\n", "map merge requires map or sequence of maps as the value", id="nothing to merge"),
    pytest.param("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
                 "excessive aliasing", id="aliases of aliases"),
])
def test_refused(text: str, why: str) -> None:
    with pytest.raises(YamlProblem, match=why):
        parse_yaml(text.encode())


def test_deep_but_not_too_deep() -> None:
    found, _ = parse_yaml(b"[" * 900 + b"]" * 900)
    for _ in range(899):
        (found,) = found
    assert found == []


def test_keys_given_twice_are_told_with_their_lines() -> None:
    assert parse_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3\n") == (
        {"a": 3, "b": {"c": 2}}, ('line 2: key "c" already set in map', 'line 3: key "a" already set in map'))
