"""Sets and maps in lists: no duplicates (`pkg/apiserver/schema/listtype`)."""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.field import Errors, Path, duplicate
from kubepy.api.structural.node import Node


def validate_lists(value: Any, node: Node, path: Path | None = None) -> Errors:
    """Duplicates in lists that are sets or keyed maps."""
    errors: Errors = []
    if node.keyed:
        _walk(value, node, path or Path(), errors)
    return errors


def _walk(value: Any, node: Node, path: Path, errors: Errors) -> None:
    if type(value) is dict:
        for key, item in value.items():
            child = node.properties.get(key)
            if child is not None:
                if child.keyed:
                    _walk(item, child, path.child(key), errors)
            elif node.additional is not None and node.additional.keyed:
                _walk(item, node.additional, path.key(key), errors)
    elif type(value) is list:
        if node.list_type == "set":
            _duplicates([_canonical(item) for item in value], value, path, errors)
        elif node.list_type == "map":
            keys = [{key: item[key] for key in node.list_keys if key in item} if type(item) is dict else {} for item in value]
            _duplicates([_canonical(key) for key in keys], keys, path, errors)
        if node.items is not None and node.items.keyed:
            for position, item in enumerate(value):
                _walk(item, node.items, path.index(position), errors)


def _duplicates(marks: list[bytes], shown: list[Any], path: Path, errors: Errors) -> None:
    seen: set[bytes] = set()
    told: set[bytes] = set()
    for position, mark in enumerate(marks):
        if mark in seen and mark not in told:
            errors.append(duplicate(path.index(position), shown[position]))
            told.add(mark)
        seen.add(mark)


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
