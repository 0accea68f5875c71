"""Defaults, and nulls where none may be (`pkg/apiserver/schema/defaulting`)."""
from __future__ import annotations

from typing import Any

from kubepy.api.structural.node import Node
from kubepy.api.types import Object


def fill(obj: Object, node: Node) -> None:
    """Fills a resource's defaults in place; then drops nulls that are neither nullable nor have a default."""
    if node.defaults:
        set_defaults(obj, node)
    drop_nulls(obj, node)


def copy(value: Any) -> Any:
    """A default is shared by all objects: each gets its own."""
    if type(value) is dict:
        return {key: copy(item) for key, item in value.items()}
    if type(value) is list:
        return [copy(item) for item in value]
    return value


def set_defaults(value: Any, node: Node) -> None:
    if type(value) is dict:
        for name, child in node.properties.items():
            if child.has_default and (name not in value or (value[name] is None and not child.nullable)):
                value[name] = copy(child.default)
        additional = node.additional
        for name, item in value.items():
            child_or_none = node.properties.get(name)
            if child_or_none is None:
                if additional is None:
                    continue
                if item is None and not additional.nullable and additional.has_default:
                    item = value[name] = copy(additional.default)
                child_or_none = additional
            if child_or_none.defaults and item is not None:
                set_defaults(item, child_or_none)
    elif type(value) is list and (items := node.items) is not None:
        for position, item in enumerate(value):
            if item is None and not items.nullable and items.has_default:
                item = value[position] = copy(items.default)
            if items.defaults and item is not None:
                set_defaults(item, items)


def drop_nulls(value: Any, node: Node) -> None:
    """PruneNonNullableNullsWithoutDefaults."""
    if type(value) is dict:
        drop = []
        for name, item in value.items():
            child = node.properties.get(name) or node.additional
            if child is None:
                continue
            if item is None:
                if not child.nullable and not child.has_default:
                    drop.append(name)
            elif type(item) is dict or type(item) is list:
                drop_nulls(item, child)
        for name in drop:
            del value[name]
    elif type(value) is list and node.items is not None:
        for item in value:
            if type(item) is dict or type(item) is list:
                drop_nulls(item, node.items)

