"""isSorted, sum, min, max (`library/lists.go`).

Known difference: indexOf and lastIndexOf of lists are missing; the engine has the names for strings and takes no more overloads.
"""
from __future__ import annotations

from typing import Any


def is_sorted(values: list[Any]) -> bool:
    return all(values[at] <= values[at + 1] for at in range(len(values) - 1))


def total(values: list[Any]) -> Any:
    if not values:
        return 0
    found = values[0]
    for value in values[1:]:
        found = found + value
    return found


def smallest(values: list[Any]) -> Any:
    if not values:
        raise ValueError("min called on empty list")
    return min(values)


def largest(values: list[Any]) -> Any:
    if not values:
        raise ValueError("max called on empty list")
    return max(values)


FUNCTIONS: list[tuple[Any, ...]] = [
    ("isSorted", True, ("list(dyn)",), "bool", is_sorted),
    ("sum", True, ("list(dyn)",), "dyn", total),
    ("min", True, ("list(dyn)",), "dyn", smallest),
    ("max", True, ("list(dyn)",), "dyn", largest),
]
