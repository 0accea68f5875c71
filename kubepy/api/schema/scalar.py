"""Scalars as Go decodes and writes them again: times, quantities, bytes. Problems are ValueErrors with Go's words."""
from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta, timezone

from kubepy.api.quantity import parse_quantity

RFC3339 = "2006-01-02T15:04:05Z07:00"
RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"

_CANONICAL_TIME = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)
_CANONICAL_MICRO = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII)
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_ZONE = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_PARTS = (("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"), ("15", r"\d\d"), (":", ":"),
          ("04", r"\d\d"), (":", ":"), ("05", r"\d\d"))
_PART_SHAPES = tuple((element, re.compile(shape, re.ASCII)) for element, shape in _PARTS)


class ScalarProblem(ValueError):
    """A text that is no value of its type; the message is Go's."""


def time(text: str) -> str:
    """A `metav1.Time` as it is written again: UTC, whole seconds."""
    if _CANONICAL_TIME.fullmatch(text):
        return text
    return _parse(text, RFC3339).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def micro_time(text: str) -> str:
    """A `metav1.MicroTime` as it is written again: UTC, six decimals."""
    if _CANONICAL_MICRO.fullmatch(text):
        return text
    return _parse(text, RFC3339_MICRO).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def quantity(text: str) -> str:
    """A quantity as it is written again."""
    return str(parse_quantity(text))


def byte_text(text: str) -> str:
    """Base64 as Go reads it (line breaks do not count) and writes it again."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        cleaned = text.replace("\n", "").replace("\r", "")
        try:
            data = binascii.a2b_base64(cleaned, strict_mode=True) if cleaned else b""
        except (binascii.Error, ValueError) as error:
            raise ScalarProblem(f"illegal base64 data at input byte {_bad_byte(text)}") from error
        return base64.b64encode(data).decode()
    if len(text) % 4 == 0 and not text.endswith("="):
        return text
    return base64.b64encode(data).decode()


def _bad_byte(text: str) -> int:
    """Where Go's decoder gives up: the first character that cannot stand there, or the end of a broken last quantum."""
    valid, position, count = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 0, 0
    for position, char in enumerate(text):
        if char in "\r\n":
            continue
        if char == "=":
            if count % 4 < 2:
                return position
            rest = [(at, item) for at, item in enumerate(text[position + 1:], position + 1) if item not in "\r\n"]
            if count % 4 == 2:
                if not rest:
                    return len(text)
                if rest[0][1] != "=":
                    return rest[0][0]
                rest = rest[1:]
            return rest[0][0] if rest else len(text)
        if char not in valid:
            return position
        count += 1
    return len(text) - count % 4 if count % 4 else position


def _parse(text: str, layout: str) -> datetime:
    rest, values = text, []
    for element, shape in _PART_SHAPES:
        match = shape.match(rest)
        if match is None:
            raise _unparsable(text, layout, rest, element)
        if len(element) > 1:
            values.append(int(match[0]))
        rest = rest[match.end():]
    microsecond = 0
    fraction = _FRACTION.match(rest)
    if layout == RFC3339_MICRO:
        if fraction is None or len(fraction[1]) < 6:
            raise _unparsable(text, layout, rest, ".000000")
        microsecond, rest = int(fraction[1][:6]), rest[7:]
    elif fraction is not None:
        microsecond, rest = int(fraction[1][:6].ljust(6, "0")), rest[fraction.end():]
    zone = UTC
    if rest.startswith("Z"):
        rest = rest[1:]
    else:
        offset = _ZONE.match(rest)
        if offset is None:
            raise _unparsable(text, layout, rest, "Z07:00")
        minutes = int(offset[2]) * 60 + int(offset[3])
        zone = timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes)) if minutes < 1440 else UTC
        rest = rest[offset.end():]
    if rest:
        raise ScalarProblem(f"parsing time {_quote(text)}: extra text: {_quote(rest)}")
    year, month, day, hour, minute, second = values
    for name, value, low, high in (("month", month, 1, 12), ("hour", hour, 0, 23), ("minute", minute, 0, 59), ("second", second, 0, 59)):
        if not low <= value <= high:
            raise ScalarProblem(f"parsing time {_quote(text)}: {name} out of range")
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ScalarProblem(f"parsing time {_quote(text)}: day out of range") from error


def _unparsable(text: str, layout: str, rest: str, element: str) -> ScalarProblem:
    return ScalarProblem(f'parsing time {_quote(text)} as "{layout}": cannot parse {_quote(rest)} as "{element}"')


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
