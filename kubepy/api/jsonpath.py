"""JSONPath as printer columns use it (`k8s.io/client-go/util/jsonpath`): one path without braces, missing keys allowed.

    find = parse_path('.spec.items[?(@.name=="b")].value')
    find(obj)                                              the values found, in order
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Finder = Callable[[Any], list[Any]]
_Step = Callable[[list[Any]], list[Any]]

_NAME = re.compile(r"(?:\\.|[^\s\[\]{}().,\\'\"?|$@!=<>&*:;+])+")
_SLICE = re.compile(r"\s*(-?\d*)\s*(?::\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?)?$")
_FILTER = re.compile(r"\?\(\s*(.*?)\s*\)$", re.S)
_OPERATOR = re.compile(r"(==|!=|<=|>=|<|>)")


class JsonPathError(ValueError):
    """A path that cannot be parsed; the message is Kubernetes' where it is known."""


def parse_path(text: str) -> Finder:
    """The finder of a path such as `.spec.replicas`; raises JsonPathError."""
    steps = list(_steps(text.strip()))

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = step(found)
            if not found:
                break
        return found

    return find


def _steps(text: str) -> Iterator[_Step]:
    at = 0
    if text[:1] in ("$", "@"):
        at = 1
    while at < len(text):
        if text.startswith("..", at):
            match = _NAME.match(text, at + 2)
            if match is None:
                raise JsonPathError(f"invalid recursive path {text[at:]}")
            yield _recursive(_unescape(match[0]))
            at = match.end()
        elif text[at] == ".":
            at += 1
            if text.startswith("*", at):
                yield _wildcard
                at += 1
                continue
            match = _NAME.match(text, at)
            if match is None:
                if at < len(text) and text[at] == "[":
                    continue
                if at == len(text):
                    return
                raise JsonPathError(f"unrecognized character in action: U+{ord(text[at]):04X} {text[at]!r}")
            yield _field(_unescape(match[0]))
            at = match.end()
        elif text[at] == "[":
            end = _closing(text, at)
            yield _bracket(text[at + 1:end].strip())
            at = end + 1
        else:
            match = _NAME.match(text, at)
            if match is None or at:
                raise JsonPathError(f"unrecognized character in action: U+{ord(text[at]):04X} {text[at]!r}")
            raise JsonPathError(f"unrecognized identifier {match[0]}")


def _unescape(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; quotes may hide brackets."""
    depth, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise JsonPathError("unterminated array" if not quote else "unterminated quoted string")


def _bracket(inner: str) -> _Step:
    if inner == "*":
        return _wildcard
    if (match := _FILTER.match(inner)) is not None:
        return _filter(match[1])
    if inner[:1] in ("'", '"'):
        names = [part.strip() for part in inner.split(",")]
        if any(len(name) < 2 or name[0] != name[-1] for name in names):
            raise JsonPathError(f"invalid array index {inner}")
        return _union([_field(_unescape(name[1:-1])) for name in names])
    if "," in inner:
        return _union([_bracket(part.strip()) for part in inner.split(",")])
    match = _SLICE.match(inner)
    if match is None or not inner:
        raise JsonPathError(f"invalid array index {inner}")
    return _slice(match[1], match[2] if ":" in inner else None, match[3])


def _field(name: str) -> _Step:
    def step(values: list[Any]) -> list[Any]:
        return [value[name] for value in values if isinstance(value, dict) and name in value]

    return step


def _union(parts: list[_Step]) -> _Step:
    def step(values: list[Any]) -> list[Any]:
        return [item for part in parts for item in part(values)]

    return parts[0] if len(parts) == 1 else step


def _wildcard(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, list):
            found += value
        elif isinstance(value, dict):
            found += [value[key] for key in sorted(value)]
    return found


def _recursive(name: str) -> _Step:
    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            if name in value:
                yield value[name]
            for key in sorted(value):
                yield from walk(value[key])
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    return lambda values: [item for value in values for item in walk(value)]


def _slice(begin: str, end: str | None, stride: str | None) -> _Step:
    if end is None:
        index = int(begin)

        def one(values: list[Any]) -> list[Any]:
            return [value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)]

        return one
    part = slice(int(begin) if begin else None, int(end) if end else None, int(stride) if stride else None)
    return lambda values: [item for value in values if isinstance(value, list) for item in value[part]]


def _filter(text: str) -> _Step:
    parts = _OPERATOR.split(text, maxsplit=1)
    if len(parts) == 1:
        find = _operand(text)

        def exists(values: list[Any]) -> list[Any]:
            return [item for value in values if isinstance(value, list) for item in value if find(item)]

        return exists
    left, operator, right = _operand(parts[0].strip()), parts[1], _operand(parts[2].strip())

    def step(values: list[Any]) -> list[Any]:
        kept = []
        for value in values:
            for item in value if isinstance(value, list) else ():
                ours, theirs = left(item), right(item)
                if len(ours) == 1 and len(theirs) == 1 and _holds(ours[0], operator, theirs[0]):
                    kept.append(item)
        return kept

    return step


def _operand(text: str) -> Finder:
    if text[:1] in ("@", "$", "."):
        return parse_path(text)
    if text[:1] in ("'", '"') and len(text) > 1 and text[-1] == text[0]:
        value: Any = _unescape(text[1:-1])
    elif text in ("true", "false"):
        value = text == "true"
    else:
        try:
            value = float(text) if re.search(r"[.eE]", text) else int(text)
        except ValueError as error:
            raise JsonPathError(f"cannot parse filter operand {text}") from error
    return lambda item: [value]


def _holds(left: Any, operator: str, right: Any) -> bool:
    if operator == "==":
        return bool(left == right and isinstance(left, bool) == isinstance(right, bool))
    if operator == "!=":
        return bool(left != right)
    numbers = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in (left, right))
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        return False
    if operator == "<":
        return bool(left < right)
    if operator == ">":
        return bool(left > right)
    return bool(left <= right) if operator == "<=" else bool(left >= right)
