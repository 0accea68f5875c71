"""Defaults, and nulls where none may be (`pkg/apiserver/schema/defaulting`)."""
from __future__ import annotations

from typing import Any

from kubepy.api.structural.node import Node


def fill(value: Any, node: Node) -> None:
    """Fills defaults in place, and drops the nulls that are neither nullable nor have a default. One walk: every write takes it."""
    if type(value) is dict:
        for name, child in node.defaulted:
            if name not in value or (value[name] is None and not child.nullable):
                value[name] = copy(child.default)
        properties, additional = node.properties, node.additional
        drop = None
        for name, item in value.items():
            kind = type(item)
            if kind is dict or kind is list:
                below = properties.get(name) or additional
                if below is not None:
                    fill(item, below)
            elif item is None:
                below = properties.get(name) or additional
                if below is None or below.nullable:
                    continue
                if below.has_default:
                    value[name] = copy(below.default)
                    fill(value[name], below)
                else:
                    drop = [name] if drop is None else [*drop, name]
        for name in drop or ():
            del value[name]
    elif type(value) is list and (items := node.items) is not None:
        for position, item in enumerate(value):
            if item is None and not items.nullable and items.has_default:
                item = value[position] = copy(items.default)
            if type(item) is dict or type(item) is list:
                fill(item, items)


def copy(value: Any) -> Any:
    """A default is shared by all objects: each gets its own."""
    if type(value) is dict:
        return {key: copy(item) for key, item in value.items()}
    if type(value) is list:
        return [copy(item) for item in value]
    return value


def set_defaults(value: Any, node: Node) -> None:
    """Only the defaults: what a default itself is completed with, its nulls being judged afterwards."""
    if type(value) is dict:
        for name, child in node.defaulted:
            if name not in value or (value[name] is None and not child.nullable):
                value[name] = copy(child.default)
        for name, item in value.items():
            below = node.child(name)
            if below is not None and item is not None:
                set_defaults(item, below)
    elif type(value) is list and node.items is not None:
        for item in value:
            set_defaults(item, node.items)
