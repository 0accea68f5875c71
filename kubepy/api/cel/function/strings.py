"""Functions of strings: the standard ones, the extended library (version 2) and Kubernetes' regular expressions."""
from __future__ import annotations

import math
from typing import Any

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import (
    Duration,
    EvaluationError,
    Timestamp,
    TypeValue,
    UInt,
    go_name,
    integer,
    is_number,
    name_of,
    show_double,
)
from kubepy.api.structural.pattern import BadPattern, compile_pattern

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def _pattern(pattern: str) -> Any:
    try:
        return compile_pattern(pattern)
    except BadPattern as error:
        raise EvaluationError(str(error)) from error


def matches(text: str, pattern: str) -> bool:
    return _pattern(pattern).search(text) is not None


def find(text: str, pattern: str) -> str:
    match = _pattern(pattern).search(text)
    return str(match.group(0)) if match is not None else ""


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [str(match.group(0)) for match in _pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


def char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise EvaluationError(f"index out of range: {at}")
    return text[at:at + 1]


def index_of(text: str, part: str, start: int = 0) -> int:
    if start and not 0 <= start < len(text):
        if not part:
            return start
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(part)
    if not 0 <= start < len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, count if count >= 0 else -1)


def split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        return [*text] if limit < 0 else [*text[:limit - 1], text[limit - 1:]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not 0 <= stop <= len(text):
        raise EvaluationError(f"index out of range: {stop}")
    if start > stop:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def join(items: list[Any], separator: str = "") -> str:
    if any(type(item) is not str for item in items):
        raise EvaluationError("no such overload")
    return separator.join(items)


def quote(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


def format_text(text: str, args: list[Any]) -> str:
    """`'%s is %d'.format([…])`."""
    out: list[str] = []
    at, used = 0, 0
    while at < len(text):
        mark = text.find("%", at)
        if mark < 0:
            out.append(text[at:])
            break
        out.append(text[at:mark])
        at = mark + 1
        if text[at:at + 1] == "%":
            out.append("%")
            at += 1
            continue
        precision: int | None = None
        if text[at:at + 1] == ".":
            end = at + 1
            while text[end:end + 1].isdigit():
                end += 1
            precision, at = int(text[at + 1:end] or 0), end
        clause = text[at:at + 1]
        at += 1
        if used >= len(args):
            raise EvaluationError(f"index {used} out of range")
        out.append(_clause(clause, args[used], precision))
        used += 1
    return "".join(out)


def _clause(clause: str, value: Any, precision: int | None) -> str:
    match clause:
        case "s":
            return _shown(value)
        case "d" if type(value) in (int, UInt):
            return str(value)
        case "f" | "e" if is_number(value):
            if not math.isfinite(value):
                return {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")
            return format(float(value), f".{6 if precision is None else precision}{clause}")
        case "b" if type(value) in (int, UInt, bool):
            return format(int(value), "b")
        case "o" if type(value) in (int, UInt):
            return format(int(value), "o")
        case "x" | "X" if type(value) in (int, UInt, str, bytes):
            if isinstance(value, int):
                return format(int(value), clause)
            found = (value.encode() if isinstance(value, str) else value).hex()
            return found.upper() if clause == "X" else found
        case "d" | "f" | "e" | "b" | "o" | "x" | "X":
            words = {"d": "decimal clause can only be used on integers", "f": "fixed-point clause can only be used on doubles",
                     "e": "scientific clause can only be used on doubles", "b": "only integers and bools can be formatted as binary",
                     "o": "octal clause can only be used on integers"}
            title = words.get(clause, "only integers, byte buffers, and strings can be formatted as hex")
            raise EvaluationError(f"error during formatting: {title}, was given {name_of(value)}")
    raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{clause}"')


def _shown(value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_shown(key)}: {_shown(item)}" for key, item in value.items())) + "}"
    if type(value) is float:
        return show_double(value)
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    if isinstance(value, (str, int, Timestamp, Duration, TypeValue)):
        return str(value)
    raise EvaluationError(f"error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, "
                          f"types, durations, and timestamps, was given {go_name(value)}")


def declare(to: Declarations) -> None:
    to.add("string::contains(string) bool", lambda text, part: part in text, id="contains_string")
    to.add("string::startsWith(string) bool", lambda text, part: text.startswith(part), id="starts_with_string")
    to.add("string::endsWith(string) bool", lambda text, part: text.endswith(part), id="ends_with_string")
    to.add("string::matches(string) bool", matches, id="matches_string")
    to.add("matches(string,string) bool", matches, id="matches")
    to.add("string::find(string) string", find)
    to.add("string::findAll(string) list(string)", find_all)
    to.add("string::findAll(string,int) list(string)", find_all)
    to.add("string::charAt(int) string", char_at)
    to.add("string::indexOf(string) int", index_of)
    to.add("string::indexOf(string,int) int", index_of)
    to.add("string::lastIndexOf(string) int", last_index_of)
    to.add("string::lastIndexOf(string,int) int", last_index_of)
    to.add("string::lowerAscii() string", lambda text: text.translate(_LOWER))
    to.add("string::upperAscii() string", lambda text: text.translate(_UPPER))
    to.add("string::replace(string,string) string", replace)
    to.add("string::replace(string,string,int) string", replace)
    to.add("string::split(string) list(string)", split)
    to.add("string::split(string,int) list(string)", split)
    to.add("string::substring(int) string", substring)
    to.add("string::substring(int,int) string", substring)
    to.add("string::trim() string", lambda text: text.strip(_SPACE))
    to.add("string::reverse() string", lambda text: text[::-1])
    to.add("string::format(list(dyn)) string", format_text)
    to.add("strings.quote(string) string", quote)
    to.add("list(string)::join() string", join)
    to.add("list(string)::join(string) string", join)


__all__ = ["declare", "integer"]
