"""YAML 1.1 bodies as `sigs.k8s.io/yaml` turns them into JSON: `y` is a boolean, `010` is eight, times are texts, keys become texts.

Only the first document of a stream is read. Aliases are shared, and refused when they would blow the document up.
"""
from __future__ import annotations

import math
import re
from typing import Any

import yaml

_MAX_NODES = 1_000_000
_MAX_DEPTH, _SAFE_DEPTH = 1_000, 300
_INDENTED = re.compile(rb"[ \t\-?:\x00]{%d}" % _SAFE_DEPTH)
"""What a line begins with whose block is nested as deeply as that."""
_PLAIN = "!plain"
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


class _Loader(yaml.CSafeLoader):
    """libyaml's parser; plain scalars are left for `_plain` to read."""

    yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}  # noqa: RUF012 (the base class' type)


def parse_yaml(raw: bytes) -> tuple[Any, tuple[str, ...]]:
    """The JSON value of a YAML document, and what strict reading complains of (`line 7: key "k" already set in map`)."""
    try:
        _check_depth(raw)
        loader = _Loader(raw)
        try:
            node = loader.get_node() if loader.check_node() else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise YamlProblem(_message(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise YamlProblem("yaml: invalid document") from error
    if node is None:
        return None, ()
    reader = _Reader()
    try:
        return reader.value(node), tuple(reader.problems)
    except RecursionError as error:
        raise YamlProblem("yaml: exceeded max depth") from error


def _check_depth(raw: bytes) -> None:
    """Refuses what is nested too deeply for libyaml's composer, which is recursive and would overflow the stack of the process.

    Counting events costs as much as parsing, so it is only done where there are brackets or indentation enough."""
    if raw.count(b"[") + raw.count(b"{") < _SAFE_DEPTH and not _INDENTED.search(raw):
        return
    depth = 0
    for event in yaml.parse(raw, Loader=_Loader):
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            depth += 1
            if depth > _MAX_DEPTH:
                raise YamlProblem("yaml: exceeded max depth")
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            depth -= 1
        elif isinstance(event, yaml.DocumentEndEvent):
            return


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self._seen = 0

    def value(self, node: yaml.Node) -> Any:
        self._seen += 1
        if self._seen > _MAX_NODES:
            raise YamlProblem("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        return self._mapping(node)

    def _mapping(self, node: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag == _PLAIN and key_node.value == "<<":
                for item in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    source = self.value(item)
                    if not isinstance(source, dict):
                        raise YamlProblem("yaml: map merge requires map or sequence of maps as the value")
                    merged = {**source, **merged}
                continue
            key = self.value(key_node)
            if isinstance(key, (dict, list)):
                raise YamlProblem("yaml: invalid map key")
            text = _key(key)
            if text in result:
                self.problems.append(f'line {key_node.start_mark.line + 1}: key "{text}" already set in map')
            result[text] = self.value(value_node)
        return {**merged, **result} if merged else result


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key)


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.tag == _PLAIN:
        return _plain(text)
    kind = node.tag.rpartition(":")[2]
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
