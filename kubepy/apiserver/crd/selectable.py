"""Selectable fields: simple paths into objects whose values field selectors can ask for."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubepy.api.types import Object


def selectable_of(fields: Iterable[Object]) -> Mapping[str, Callable[[Object], str]]:
    """Field selectors by name: a path without its leading dot."""
    return {(field.get("jsonPath") or "").removeprefix("."): _getter(field.get("jsonPath") or "") for field in fields}


def _getter(path: str) -> Callable[[Object], str]:
    keys = tuple(path.removeprefix(".").split("."))

    def get(obj: Object) -> str:
        value: Any = obj
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                return ""
            value = value[key]
        return text_of(value)

    return get


def text_of(value: Any) -> str:
    """A scalar as a selector compares it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
