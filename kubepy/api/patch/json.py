"""JSON patch (RFC 6902) as kube-apiserver applies it (`gopkg.in/evanphx/json-patch.v4`).

Where that library departs from the RFC, so does this: replacing or copying a missing key of an object succeeds, negative indices
count from the end. Documents are copied along the paths that change.
"""
from __future__ import annotations

import json
from typing import Any

import orjson

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 << 20
"""Bytes that all copies of a patch may come to (upstream's JSONPatchMaxCopyBytes)."""


class JsonPatchError(ValueError):
    """An operation that does not apply (422 for the API, which does not show the message)."""


class BadJsonPatch(ValueError):
    """A document that is no JSON patch at all (400)."""


def check_json_patch(patch: Any) -> list[dict[str, Any]]:
    """The operations of a decoded patch; raises BadJsonPatch with Go's message."""
    from kubepy.api.codec import go_kind
    if patch is None:
        return []
    if type(patch) is not list:
        raise BadJsonPatch(f"json: cannot unmarshal {go_kind(patch)} into Go value of type jsonpatch.Patch")
    for operation in patch:
        if operation is not None and type(operation) is not dict:
            raise BadJsonPatch(f"json: cannot unmarshal {go_kind(operation)} into Go value of type jsonpatch.Operation")
    return [operation or {} for operation in patch]


def apply_json_patch(document: Any, operations: list[dict[str, Any]]) -> Any:
    """The document after the operations; raises JsonPatchError for the first that does not apply."""
    copied = 0
    for operation in operations:
        if operation.get("op") == "copy":
            copied += _size(_get(document, _tokens(operation, "from"), "copy"))
            if copied > MAX_COPIED:
                raise JsonPatchError(f"Unable to complete the copy, the accumulated size increase of copy is {copied}, "
                                     f"exceeding the limit {MAX_COPIED}")
        document = _apply(document, operation)
    return document


def _size(value: Any) -> int:
    """Bytes of its JSON. Copies share structure here; a few that copy each other would be exponential when written."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return len(json.dumps(value))


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    kind = operation.get("op", "unknown")
    value = operation.get("value")
    match kind:
        case "add":
            return _change(document, _tokens(operation, "path"), lambda node, key: _add(node, key, value), "add")
        case "remove":
            return _change(document, _tokens(operation, "path"), _remove, "remove")
        case "replace":
            path = _tokens(operation, "path")
            if not path:
                if not isinstance(value, (dict, list)):
                    raise JsonPatchError("replace operation value must be object or array")
                return value
            return _change(document, path, lambda node, key: _set(node, key, value), "replace")
        case "move":
            source = _tokens(operation, "from")
            moved = _get(document, source, "move")
            document = _change(document, source, _remove, "move")
            return _change(document, _tokens(operation, "path"), lambda node, key: _add(node, key, moved), "move")
        case "copy":
            copied = _get(document, _tokens(operation, "from"), "copy")
            return _change(document, _tokens(operation, "path"), lambda node, key: _add(node, key, copied), "copy")
        case "test":
            path = _tokens(operation, "path")
            if not _equal(_get(document, path, "test"), value):
                raise JsonPatchError(f"testing value {operation.get('path', '')} failed: test failed")
            return document
    raise JsonPatchError(f"Unexpected kind: {kind}")


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _tokens(operation: dict[str, Any], field: str) -> list[str]:
    pointer = operation.get(field)
    if not isinstance(pointer, str):
        raise JsonPatchError(f"operation missing {field} field: missing value")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _get(document: Any, path: list[str], kind: str) -> Any:
    node = document
    for position, key in enumerate(path):
        if isinstance(node, dict):
            node = node.get(key)
        elif isinstance(node, list):
            node = node[_index(key, len(node), kind)]
        else:
            raise JsonPatchError(f"{kind} operation does not apply: doc is missing path: /{'/'.join(path[:position + 1])}: missing value")
    return node


def _change(node: Any, path: list[str], change: Any, kind: str, whole: list[str] | None = None) -> Any:
    """The node with `change(container, key)` made at the path; containers on the way are copied."""
    whole = whole if whole is not None else path
    shown = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in whole)
    shown = shown if kind == "replace" else f'"{shown}"'
    missing = JsonPatchError(f"{kind} operation does not apply: doc is missing path: {shown}: missing value")
    if not path or not isinstance(node, (dict, list)):
        raise missing
    key, rest = path[0], path[1:]
    if not rest:
        return change(node, key)
    if isinstance(node, dict):
        if node.get(key) is None:
            raise missing
        return {**node, key: _change(node[key], rest, change, kind, whole)}
    index = _index(key, len(node), kind)
    copy = list(node)
    copy[index] = _change(node[index], rest, change, kind, whole)
    return copy


def _add(node: Any, key: str, value: Any) -> Any:
    if isinstance(node, dict):
        return {**node, key: value}
    copy = list(node)
    copy.insert(len(copy) if key == "-" else _index(key, len(copy) + 1, "add"), value)
    return copy


def _set(node: Any, key: str, value: Any) -> Any:
    if isinstance(node, dict):
        return {**node, key: value}
    copy = list(node)
    copy[_index(key, len(copy), "replace")] = value
    return copy


def _remove(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        if key not in node:
            raise JsonPatchError(f"Unable to remove nonexistent key: {key}: missing value")
        return {name: value for name, value in node.items() if name != key}
    copy = list(node)
    del copy[_index(key, len(copy), "remove")]
    return copy


def _index(key: str, size: int, kind: str) -> int:
    try:
        index = int(key)
    except ValueError as error:
        raise JsonPatchError(f'strconv.Atoi: parsing "{key}": invalid syntax') from error
    if not -size <= index < size:
        raise JsonPatchError(f"Unable to access invalid index: {index}: {kind}")
    return index + size if index < 0 else index
