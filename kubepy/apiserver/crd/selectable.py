"""Selectable fields: simple paths into objects whose values field selectors can ask for."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubepy.api.types import Object


def selectable_of(fields: Iterable[Object]) -> Mapping[str, Callable[[Object], str]]:
    """Field selectors by name: a path without its leading dot."""
    return {(field.get("jsonPath") or "").removeprefix("."): _getter(field.get("jsonPath") or "") for field in fields}


def _getter(path: str) -> Callable[[Object], str]:
    keys = keys_of(path)
    return lambda obj: text_of(_walk(obj, keys))


def keys_of(path: str) -> tuple[str, ...]:
    """The keys of a simple path such as `.spec.replicas`."""
    return tuple(path.removeprefix(".").split("."))


def at(obj: Object, path: str) -> Any:
    """The value at a simple path, or None."""
    return _walk(obj, keys_of(path))


def _walk(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text_of(value: Any) -> str:
    """A scalar as a selector compares it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
