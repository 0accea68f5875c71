"""Cron schedules as Kubernetes checks them (robfig/cron's standard parser and its words)."""
from __future__ import annotations

import re
import zoneinfo

_BOUNDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}),
    (0, 6, {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}),
)
_DESCRIPTORS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_DURATION = re.compile(r"[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+|[-+]?0")


def schedule_problem(text: str) -> str:
    """Why a schedule is refused, or ""."""
    rest = text
    if rest.startswith(("TZ=", "CRON_TZ=")):
        zone, _, rest = rest.partition(" ")
        zone = zone.partition("=")[2]
        if problem := zone_problem(zone):
            return f"provided bad location {zone}: {problem}"
    rest = rest.strip()
    if not rest:
        return "empty spec string"
    if rest.startswith("@"):
        return _descriptor_problem(rest)
    fields = rest.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for part, (low, high, names) in zip(fields, _BOUNDS, strict=True):
        for expression in filter(None, part.split(",")):
            if problem := _range_problem(expression, low, high, names):
                return problem
    return ""


def zone_problem(zone: str) -> str:
    """Why a time zone is refused, or ""."""
    if zone in ("", "UTC", "Local"):
        return ""
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"unknown time zone {zone}"
    return ""


def _descriptor_problem(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        return "" if _DURATION.fullmatch(duration) else f'failed to parse duration {text}: time: invalid duration "{duration}"'
    return f"unrecognized descriptor: {text}"


def _range_problem(expression: str, low: int, high: int, names: dict[str, int]) -> str:
    span, slash, step_text = expression.partition("/")
    if "/" in step_text:
        return f"too many slashes: {expression}"
    first, dash, last = span.partition("-")
    if "-" in last:
        return f"too many hyphens: {expression}"
    if first in ("*", "?"):
        start, end = low, high
    else:
        start_value = _number(first, names)
        if start_value is None:
            return f'failed to parse int from {first}: strconv.Atoi: parsing "{first}": invalid syntax'
        start = end = start_value
        if dash:
            end_value = _number(last, names)
            if end_value is None:
                return f'failed to parse int from {last}: strconv.Atoi: parsing "{last}": invalid syntax'
            end = end_value
    step = 1
    if slash:
        if not re.fullmatch(r"\d+", step_text):
            return f'failed to parse int from {step_text}: strconv.Atoi: parsing "{step_text}": invalid syntax'
        step = int(step_text)
        if not dash and first not in ("*", "?"):
            end = high
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {expression}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {expression}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {expression}"
    if step == 0:
        return f"step of range should be a positive number: {expression}"
    return ""


def _number(text: str, names: dict[str, int]) -> int | None:
    if text.lower() in names:
        return names[text.lower()]
    return int(text) if re.fullmatch(r"\d+", text) else None
