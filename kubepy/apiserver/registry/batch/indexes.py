"""Lists of a Job's indexes as texts: `0,2-4` (`validateIndexesFormat`)."""
from __future__ import annotations

import re


def count_indexes(text: str, completions: int) -> int:
    """How many indexes a text names; raises ValueError in Kubernetes' words."""
    total, last = 0, None
    for part in text.split(",") if text else ():
        first, final = _interval(part, completions)
        if last is not None and last >= first:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        total, last = total + final - first + 1, final
    return total


def overlap(one: str, other: str, completions: int) -> int | None:
    """The first index that both texts name; what cannot be read counts for nothing."""
    left, right = _readable(one, completions), _readable(other, completions)
    while left and right:
        (first, final), (start, end) = left[0], right[0]
        if first <= end and start <= final:
            return max(first, start)
        (left if first <= start else right).pop(0)
    return None


def _readable(text: str, completions: int) -> list[tuple[int, int]]:
    found = []
    for part in text.split(",") if text else ():
        try:
            found.append(_interval(part, completions))
        except ValueError:
            continue
    return found


def _interval(part: str, completions: int) -> tuple[int, int]:
    bounds = part.split("-")
    if len(bounds) > 2:
        raise ValueError(f'the fragment "{part}" violates the requirement that an index interval can have at most two parts '
                         "separated by '-'")
    first = _index(bounds[0], completions)
    final = _index(bounds[1], completions) if len(bounds) == 2 else first
    if len(bounds) == 2 and first >= final:
        raise ValueError(f"non-increasing order, previous: {first}, current: {final}")
    return first, final


def _index(text: str, completions: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(text)
