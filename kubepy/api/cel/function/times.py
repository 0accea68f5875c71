"""Parts of timestamps and durations (`cel-go/common/types/{timestamp,duration}.go`); the zone is UTC where none is named."""
from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import SECOND, Duration, EvaluationError, Timestamp

_OFFSET = re.compile(r"([+-]?)(\d{1,2}):(\d{2})")


def _local(moment: Timestamp, zone: str) -> datetime:
    found = _OFFSET.fullmatch(zone)
    if found is not None:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return moment.moment().astimezone(timezone(-offset if found[1] == "-" else offset))
    try:
        return moment.moment().astimezone(ZoneInfo(zone))
    except (ValueError, KeyError, OSError) as error:
        raise EvaluationError(f"unknown time zone {zone}") from error


_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda moment: moment.year, "getMonth": lambda moment: moment.month - 1, "getDate": lambda moment: moment.day,
    "getDayOfMonth": lambda moment: moment.day - 1, "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1, "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute, "getSeconds": lambda moment: moment.second}


def _part(read: Callable[[datetime], int]) -> Callable[..., int]:
    return lambda moment, zone="UTC": read(_local(moment, zone))


def _milliseconds(moment: Timestamp, zone: str = "UTC") -> int:
    return moment.ns % SECOND // 1_000_000


def _whole(unit: int) -> Callable[[Duration], int]:
    return lambda length: (1 if length.ns >= 0 else -1) * (abs(length.ns) // unit)


def declare(to: Declarations) -> None:
    reads: dict[str, Callable[..., Any]] = {**{name: _part(read) for name, read in _PARTS.items()}, "getMilliseconds": _milliseconds}
    for name, call in reads.items():
        to.add(f"timestamp::{name}() int", call)
        to.add(f"timestamp::{name}(string) int", call)
    for name, unit in (("getHours", 3600 * SECOND), ("getMinutes", 60 * SECOND), ("getSeconds", SECOND)):
        to.add(f"duration::{name}() int", _whole(unit))
    to.add("duration::getMilliseconds() int", lambda length: length.ns // 1_000_000 % 1000 if length.ns >= 0
           else -(-length.ns // 1_000_000 % 1000))
