"""YAML 1.1 bodies as `sigs.k8s.io/yaml` turns them into JSON: `y` is a boolean, `010` is eight, times are texts, keys become texts.

Only the first document of a stream is read. Aliases are shared, and refused when they would blow the document up.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

_MAX_VALUES, _MAX_EXPANDED, _MAX_DEPTH = 500_000, 1_000_000, 1_000
_INT = re.compile(r"[-+]?(?:0b[01]+|0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan}
for _texts, _value in (("null", None), ("true", True), ("yes", True), ("on", True), ("y", True),
                       ("false", False), ("no", False), ("off", False), ("n", False)):
    _WORDS.update({form: _value for form in (_texts, _texts.capitalize(), _texts.upper())})
for _sign, _number in (("", math.inf), ("+", math.inf), ("-", -math.inf)):
    _WORDS.update({f"{_sign}{form}": _number for form in (".inf", ".Inf", ".INF")})


class YamlProblem(ValueError):
    """Text that is not YAML; the message is Kubernetes'."""


def parse_yaml(raw: bytes) -> tuple[Any, tuple[str, ...]]:
    """The JSON value of a YAML document, and what strict reading complains of (`line 7: key "k" already set in map`).

    It is built from libyaml's events as they come: trees of nodes cost several times as much, and their maker recurses."""
    try:
        parser = yaml.CSafeLoader(raw)
        try:
            return _document(parser.get_event)
        finally:
            parser.dispose()
    except yaml.YAMLError as error:
        raise YamlProblem(_message(error)) from error
    except UnicodeDecodeError as error:
        raise YamlProblem("yaml: invalid document") from error


class _List:
    """A sequence while its items come."""

    def __init__(self, anchor: str | None, before: int) -> None:
        self.anchor, self.before = anchor, before
        self._items: list[Any] = []

    def take(self, value: Any, event: Any) -> None:
        self._items.append(value)

    def close(self) -> Any:
        return self._items


class _Map:
    """A mapping while its keys and values come, in turn."""

    def __init__(self, anchor: str | None, before: int, problems: list[str], faults: list[str]) -> None:
        self.anchor, self.before = anchor, before
        self._awaits_key = True
        self._problems, self._faults = problems, faults
        self._found: dict[str, Any] = {}
        self._merged: dict[str, Any] = {}
        self._key = ""
        self._merging = False

    def take(self, value: Any, event: Any) -> None:
        if self._awaits_key:
            self._take_key(value, event)
        elif self._merging:
            self._merge(value)
        else:
            self._found[self._key] = value
        self._awaits_key = not self._awaits_key

    def _take_key(self, value: Any, event: Any) -> None:
        if isinstance(value, (dict, list)):
            self._faults.append("yaml: invalid map key")
            value = None
        self._merging = value == "<<" and isinstance(event, yaml.ScalarEvent) and _is_plain(event)
        self._key = value if isinstance(value, str) else _key(value)
        if self._key in self._found and not self._merging:
            self._problems.append(f'line {event.start_mark.line + 1}: key "{self._key}" already set in map')

    def _merge(self, value: Any) -> None:
        for source in value if isinstance(value, list) else [value]:
            if isinstance(source, dict):
                self._merged = {**source, **self._merged}
            else:
                self._faults.append("yaml: map merge requires map or sequence of maps as the value")

    def close(self) -> Any:
        return {**self._merged, **self._found} if self._merged else self._found


def _document(next_event: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
    """The value of the first document. Bounded: by the values there are, by what they come to with aliases, by depth."""
    anchors: dict[str, tuple[Any, int] | None] = {}
    problems: list[str] = []
    faults: list[str] = []  # of what is YAML all the same: told when nothing else is wrong
    stack: list[_List | _Map] = []
    result: Any = None
    seen = expanded = 0
    while True:
        event = next_event()
        kind = type(event)
        if kind is yaml.ScalarEvent:
            value, weight, anchor = _scalar(event), 1, event.anchor
            expanded += 1
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if len(stack) >= _MAX_DEPTH:
                raise YamlProblem("yaml: exceeded max depth")
            if event.anchor:
                anchors[event.anchor] = None
            is_map = kind is yaml.MappingStartEvent
            stack.append(_Map(event.anchor, expanded, problems, faults) if is_map else _List(event.anchor, expanded))
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            holder = stack.pop()
            expanded += 1
            value, weight, anchor = holder.close(), expanded - holder.before, holder.anchor
        elif kind is yaml.AliasEvent:
            value, weight = _aliased(anchors, event.anchor)
            anchor = None
            expanded += weight
        elif kind is yaml.DocumentEndEvent or kind is yaml.StreamEndEvent:
            if faults:
                raise YamlProblem(faults[0])
            return result, tuple(problems)
        else:
            continue
        seen += 1
        if seen > _MAX_VALUES:
            raise YamlProblem(f"yaml: document has more than {_MAX_VALUES} values")
        if expanded > _MAX_EXPANDED:
            raise YamlProblem("yaml: document contains excessive aliasing")
        if anchor:
            anchors[anchor] = value, weight
        if stack:
            stack[-1].take(value, event)
        else:
            result = value


def _aliased(anchors: dict[str, tuple[Any, int] | None], name: str) -> tuple[Any, int]:
    if name not in anchors:
        raise YamlProblem(f"yaml: unknown anchor '{name}' referenced")
    found = anchors[name]
    if found is None:
        raise YamlProblem(f"yaml: anchor '{name}' value contains itself")
    return found


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key)


def _is_plain(event: yaml.ScalarEvent) -> bool:
    """Neither quoted nor tagged."""
    return event.tag is None and bool(event.implicit[0])


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.tag is None:
        return _plain(text) if event.implicit[0] else text
    kind = event.tag.rpartition(":")[2]
    if kind in ("int", "float", "bool", "null"):
        value = _plain(text)
        return float(value) if kind == "float" and isinstance(value, int) else value
    return text


def _plain(text: str) -> Any:
    if text in _WORDS:
        value = _WORDS[text]
        return None if isinstance(value, float) else value
    first = text[0]
    if first in "+-.0123456789":
        digits = text.replace("_", "")
        if _INT.fullmatch(digits):
            return _integer(digits)
        if _FLOAT.fullmatch(digits):
            number = float(digits)
            return number if math.isfinite(number) else text
    return text


def _integer(digits: str) -> Any:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-")
    try:
        if body[:2] in ("0b", "0x", "0o"):
            value = int(body, 0)
        elif len(body) > 1 and body[0] == "0":
            value = int(body, 8)
        else:
            value = int(body)
        return sign * value if value < 2**64 else float(sign * value)
    except (ValueError, OverflowError):
        # Too long for a number of Go's: it stays the text it is.
        number = float(body) if body.isdigit() else math.inf
        return number * sign if math.isfinite(number) else digits


def _message(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    line = mark.line if mark is not None else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    elif not line:
        context = getattr(error, "context_mark", None)
        line = context.line if context is not None else 0
    return f"yaml: line {line}: {problem}" if line else f"yaml: {problem}"
