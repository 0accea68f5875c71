"""Command line values as Go's flag packages read them."""
from __future__ import annotations

import argparse
import re

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds of a Go duration such as 1m30s; raises ValueError."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    if rest == "0":
        return 0.0
    total, end = 0.0, 0
    for match in _DURATION.finditer(rest):
        if match.start() != end:
            break
        total += float(match[1]) * _UNITS[match[2]]
        end = match.end()
    if not rest or end != len(rest):
        raise ValueError(f"time: invalid duration {text!r}")
    return sign * total


def shown_duration(seconds: float) -> str:
    """As Go writes it: 90 s are 1m30s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def unsigned_duration(text: str) -> float:
    """A duration that is not negative; raises ValueError."""
    seconds = duration(text)
    if seconds < 0:
        raise ValueError(f"duration {text!r} must not be negative")
    return seconds


def boolean(text: str) -> bool:
    """1, t, true and their opposites; raises ValueError."""
    lowered = text.lower()
    if lowered in ("1", "t", "true"):
        return True
    if lowered in ("0", "f", "false"):
        return False
    raise ValueError(f"invalid boolean value {text!r}")


def comma_list(text: str) -> list[str]:
    """`a,b,c`; empty text gives no items."""
    return [item.strip() for item in text.split(",") if item.strip()]


def mapping(text: str, separator: str = "=", problem: str = "malformed pair, expect string=string: {!r}") -> dict[str, str]:
    """`a=1,b=2`; raises ValueError, with the pair in which the separator is missing put into `problem`."""
    found = {}
    for item in comma_list(text):
        key, split, value = item.partition(separator)
        if not split:
            raise ValueError(problem.format(item))
        found[key] = value
    return found


def add_boolean(parser: argparse._ActionsContainer, name: str, default: bool, text: str) -> None:
    """A flag that may be given bare (`--profiling`) or with a value (`--profiling=false`)."""
    parser.add_argument(name, type=boolean, nargs="?", const=True, default=default, metavar="BOOL",
                        help=f"{text} (default {str(default).lower()})")


def add_duration(parser: argparse._ActionsContainer, name: str, default: str, text: str) -> None:
    parser.add_argument(name, type=duration, default=duration(default), metavar="DURATION", help=f"{text} (default {default})")


def add_number(parser: argparse._ActionsContainer, name: str, default: float, text: str) -> None:
    """An integer or a float, as its default is."""
    parser.add_argument(name, type=type(default), default=default, metavar="N", help=f"{text} (default {default})")
