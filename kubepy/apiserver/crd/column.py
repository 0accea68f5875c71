"""Printer columns: JSON paths into objects as cells of a table (`pkg/registry/customresource/tableconvertor`)."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from kubepy.api.gofmt import go_value
from kubepy.api.jsonpath import JsonPathError, parse_path
from kubepy.api.types import Object
from kubepy.apiserver.column import CREATED_TEXT, DEFAULT_COLUMNS
from kubepy.apiserver.registry.columns import age
from kubepy.apiserver.registry.kind import Column

_NAME = DEFAULT_COLUMNS[0]
_AGE = Column("Age", "date", CREATED_TEXT, lambda obj, now: age(obj["metadata"].get("creationTimestamp"), now))


def columns_of(columns: Iterable[Object]) -> tuple[Column, ...]:
    """The columns of a version: the name, then its own; without any, name and age."""
    own = tuple(_column(item) for item in columns)
    return (_NAME, *own) if own else (_NAME, _AGE)


def _column(item: Object) -> Column:
    path, type_ = item.get("jsonPath") or "", item.get("type") or ""
    text = item.get("description") or f"Custom resource definition column (in JSONPath format): {path}"
    return Column(item.get("name") or "", type_, text, _cell(path, type_), item.get("format") or "", item.get("priority") or 0)


def _cell(path: str, type_: str) -> Callable[[Object, float], Any]:
    try:
        find = parse_path(path)
    except JsonPathError:
        return lambda obj, now: None
    show = _SHOWN.get(type_)

    def cell(obj: Object, now: float) -> Any:
        found = find(obj)
        if not found or show is None:
            return None
        return show(found[0], now)

    return cell


def _integer(value: Any, now: float) -> Any:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _number(value: Any, now: float) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _boolean(value: Any, now: float) -> Any:
    return value if isinstance(value, bool) else None


def _date(value: Any, now: float) -> Any:
    return age(value, now, "<invalid>") if isinstance(value, str) else None


def _string(value: Any, now: float) -> Any:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, (dict, list)) else go_value(value)


_SHOWN: dict[str, Callable[[Any, float], Any]] = {
    "integer": _integer, "number": _number, "boolean": _boolean, "date": _date, "string": _string,
}
