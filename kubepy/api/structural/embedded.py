"""Type and object metadata of resources within resources (`pkg/apiserver/schema/objectmeta/validation.go`)."""
from __future__ import annotations

from typing import Any

from kubepy.api import name as names
from kubepy.api.field import Errors, Path, invalid, required
from kubepy.api.structural.node import Node
from kubepy.api.types import Object
from kubepy.api.validation.meta import validate_meta


def validate_embedded(value: Any, node: Node, path: Path | None = None) -> Errors:
    """What is wrong with the embedded resources below a resource."""
    errors: Errors = []
    if node.embeds:
        _walk(value, node, path or Path(), errors, root=True)
    return errors


def _walk(value: Any, node: Node, path: Path, errors: Errors, *, root: bool = False) -> None:
    if type(value) is dict:
        if node.embedded and not root:
            errors += resource_errors(value, path)
        for key, item in value.items():
            child = node.properties.get(key)
            if child is not None:
                if child.embeds:
                    _walk(item, child, path.child(key), errors)
            elif node.additional is not None and node.additional.embeds:
                _walk(item, node.additional, path.key(key), errors)
    elif type(value) is list and node.items is not None and node.items.embeds:
        for position, item in enumerate(value):
            _walk(item, node.items, path.index(position), errors)


def resource_errors(value: Object, path: Path) -> Errors:
    """What is wrong with the type and metadata of one resource."""
    errors: Errors = [required(path.child(field)) for field in ("apiVersion", "kind") if field not in value]
    version, kind = value.get("apiVersion"), value.get("kind")
    if "apiVersion" in value:
        if not isinstance(version, str):
            errors.append(invalid(path.child("apiVersion"), version, "must be a string"))
        elif not version:
            errors.append(invalid(path.child("apiVersion"), version, "must not be empty"))
        elif version.count("/") > 1:
            errors.append(invalid(path.child("apiVersion"), version, f"unexpected GroupVersion string: {version}"))
    if "kind" in value:
        if not isinstance(kind, str):
            errors.append(invalid(path.child("kind"), kind, "must be a string"))
        elif not kind:
            errors.append(invalid(path.child("kind"), kind, "must not be empty"))
        elif problems := names.label_1035(kind.lower()):
            text = ",".join(problems)
            errors.append(invalid(path.child("kind"), kind, f"may have mixed case, but should otherwise match: {text}"))
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        known = metadata if metadata.get("name") else {**metadata, "name": "fakename"}
        errors += validate_meta(known, bool(metadata.get("namespace")), names.path_segment, path.child("metadata"), kube=False)
    return errors
