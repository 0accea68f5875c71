"""Defaults within schemas: they survive pruning and are valid themselves (`pkg/apiserver/schema/defaulting/validation.go`)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kubepy.api.field import Errors, FieldError, Path, forbidden, invalid
from kubepy.api.structural.default import copy, set_defaults
from kubepy.api.structural.embedded import resource_errors, validate_embedded
from kubepy.api.structural.listtype import validate_lists
from kubepy.api.structural.node import Node
from kubepy.api.structural.prune import prune, prune_value
from kubepy.api.structural.validate import Check

Rules = Callable[[Any, Node, Path], Errors]
"""Checks a value by the CEL rules of its node and below."""


def validate_defaults(root: Node, path: Path, rules: Rules | None = None) -> Errors:
    errors: Errors = []
    _walk(root, path, errors, rules, root=True, meta="")
    return errors


def _walk(node: Node, path: Path, errors: Errors, rules: Rules | None, *, root: bool = False, meta: str = "") -> None:
    if node.has_default:
        if meta == "top":
            errors.append(forbidden(path.child("default"), "must not be set in top-level metadata"))
        elif meta == "embedded":
            errors.append(forbidden(path.child("default"), "must not be set in embedded metadata"))
        else:
            errors += _default(node, path.child("default"), rules, root=root)
    for name, child in sorted(node.properties.items()):
        inner = meta
        if name == "metadata" and (root or node.embedded):
            inner = "top" if root else "embedded"
        _walk(child, path.child("properties").key(name), errors, rules, meta=inner)
    if node.items is not None:
        _walk(node.items, path.child("items"), errors, rules, meta=meta)
    if node.additional is not None:
        _walk(node.additional, path.child("additionalProperties"), errors, rules, meta=meta)


def _default(node: Node, path: Path, rules: Rules | None, *, root: bool) -> Errors:
    value = copy(node.default)
    if prune(value, node) if root and isinstance(value, dict) else prune_value(value, node):
        return [FieldError(str(path), "FieldValueInvalid", f"Invalid value: {_shown(node.default)}: must not have unknown fields")]
    set_defaults(value, node)
    found = [_below(error, path) for error in Check(node.raw).validate(value)]
    if root or node.embedded:
        found += resource_errors(value, path) if isinstance(value, dict) else []
    found += validate_embedded(value, node, path) + validate_lists(value, node, path)
    if not found and rules is not None and node.ruled:
        found += [invalid(path, value, f"failed rule: {error.body}") if error.reason == "rule" else error
                  for error in rules(value, node, path)]
    return found


def _below(error: FieldError, path: Path) -> FieldError:
    if error.field in ("<nil>", ""):
        return FieldError(str(path), error.reason, error.body)
    joint = "" if error.field.startswith("[") else "."
    return FieldError(f"{path}{joint}{error.field}", error.reason, error.body)


def _shown(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
