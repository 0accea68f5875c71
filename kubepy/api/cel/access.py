"""Elements of lists, maps and optional values, as CEL finds them."""
from __future__ import annotations

from typing import Any

from kubepy.api.cel.value import NONE, EvaluationError, Optional, equal, go_name, is_number, name_of, no_overload, show

ABSENT = object()
"""Stands for no value."""


def items_of(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return value if isinstance(value, dict) else value[:]
    raise EvaluationError(f"got '{go_name(value)}', expected iterable type")


def pairs_of(value: Any) -> Any:
    if isinstance(value, dict):
        return value.items()
    return enumerate(items_of(value))


def optional(value: Any) -> Optional:
    if not isinstance(value, Optional):
        raise no_overload()
    return value


def opened(value: Any) -> Any:
    return optional(value).value


def has(value: Any, key: str) -> bool:
    if isinstance(value, Optional):
        return value.has and has(value.value, key)
    return isinstance(value, dict) and key in value


def at_index(value: Any, at: Any) -> Any:
    """`value[at]` of a list or a map."""
    if isinstance(value, list):
        if not is_number(at) or at != int(at):
            raise EvaluationError(f"unsupported index type '{name_of(at)}' in list" if not is_number(at)
                                  else f"unsupported index value {show(at)} in list")
        if 0 <= at < len(value):
            return value[int(at)]
        raise EvaluationError(f"index out of bounds: {show(at)}")
    if isinstance(value, dict):
        found = lookup(value, at)
        if found is not ABSENT:
            return found
    raise EvaluationError(f"no such key: {show(at)}")


def lookup(value: dict[Any, Any], key: Any) -> Any:
    """The value of a key, or a mark that is no value. Python takes True for 1."""
    if isinstance(key, (list, dict)) or (type(key) is bool and key not in [item for item in value if type(item) is bool]):
        return ABSENT
    try:
        return value[key]
    except KeyError:
        return ABSENT


def find(value: Any, key: Any) -> Optional:
    if isinstance(value, Optional):
        if not value.has:
            return NONE
        value = value.value
    if isinstance(value, dict):
        found = lookup(value, key)
        return NONE if found is ABSENT else Optional(found)
    if isinstance(value, list) and is_number(key):
        return Optional(value[int(key)]) if 0 <= key < len(value) else NONE
    return NONE


def contains(value: Any, container: Any) -> bool:
    """`value in container`."""
    if isinstance(container, list):
        return any(equal(value, item) for item in container)
    if isinstance(container, dict):
        return lookup(container, value) is not ABSENT
    raise no_overload()
