"""Drops the fields a structural schema does not know (`pkg/apiserver/schema/pruning`)."""
from __future__ import annotations

from typing import Any

from kubepy.api.structural.node import Node
from kubepy.api.types import Object

_META = ("apiVersion", "kind", "metadata")


def prune(obj: Object, node: Node) -> list[str]:
    """Prunes a resource in place; the paths that were dropped, sorted."""
    found: list[str] = []
    _prune(obj, node, "", True, found)
    found.sort()
    return found


def prune_value(value: Any, node: Node) -> list[str]:
    """As `prune`, for a value that is no resource (a default)."""
    found: list[str] = []
    _prune(value, node, "", node.embedded, found)
    return found


def _prune(value: Any, node: Node | None, path: str, resource: bool, found: list[str]) -> None:
    if type(value) is dict:
        resource = resource or (node is not None and node.embedded)
        if node is not None and node.preserves:
            _keep(value, node, path, resource, found)
            return
        drop = []
        for key, item in value.items():
            if resource and key in _META:
                continue
            if node is None:
                drop.append(key)
                continue
            child = node.properties.get(key)
            if child is None:
                if node.additional is None:
                    if node.any_additional:
                        if type(item) is dict or type(item) is list:
                            _prune(item, None, _join(path, key), False, found)
                    else:
                        drop.append(key)
                    continue
                child = node.additional
            if type(item) is dict or type(item) is list:
                _prune(item, child, _join(path, key), False, found)
        for key in drop:
            del value[key]
            found.append(_join(path, key))
    elif type(value) is list:
        if node is not None and node.preserves:
            _keep(value, node, path, False, found)
            return
        items = node.items if node is not None else None
        for position, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                _prune(item, items, f"{path}[{position}]", False, found)


def _keep(value: Any, node: Node, path: str, resource: bool, found: list[str]) -> None:
    """Below a node that keeps unknown fields only what is specified is pruned."""
    if type(value) is dict:
        for key, item in value.items():
            if resource and key in _META:
                continue
            child = node.child(key)
            if child is not None and (type(item) is dict or type(item) is list):
                _prune(item, child, _join(path, key), False, found)
    elif node.items is not None:
        for position, item in enumerate(value):
            _prune(item, node.items, f"{path}[{position}]", False, found)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
