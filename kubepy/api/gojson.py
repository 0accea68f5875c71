"""JSON as Go reads it: the slow reader behind orjson, for what orjson refuses or forgets.

It accepts what Go accepts and orjson does not (10,000 levels, lone surrogates), refuses with Go's words (`encoding/json`'s scanner),
and keeps what decoding needs to explain itself: the pairs of each object with duplicates, and the text of numbers.
No recursion: depth costs memory, not stack.
"""
from __future__ import annotations

import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 10_000

_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS: dict[str, tuple[str, Any]] = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}


class SyntaxProblem(ValueError):
    """Text that is not JSON; the message is Go's."""


class Pairs(dict[str, Any]):
    """An object that remembers its pairs as they were written, duplicates among them."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[str, Any]] = []


class Real(float):
    """A number with a fraction or an exponent, and how it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Real:
        value = super().__new__(cls, text)
        value.text = text
        return value


def parse(text: str, *, explain: bool = False) -> Any:
    """The value of a whole document; with `explain` objects are `Pairs` and numbers that are no plain integers are `Real`."""
    return _Scanner(text, explain).document()


def plain(value: Any) -> Any:
    """What `explain` gave, as ordinary dicts, lists and numbers (the last of duplicate keys wins)."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, Real) else value


class _Scanner:
    def __init__(self, text: str, explain: bool) -> None:
        self._text = text
        self._explain = explain
        self._at = 0

    def document(self) -> Any:
        text = self._text
        stack: list[tuple[Any, str]] = []
        container: Any = None
        key = ""
        while True:
            self._skip()
            char = self._char()
            value: Any
            if char and char in "{[":
                if len(stack) + (container is not None) >= MAX_DEPTH:
                    self._bad("exceeded max depth")
                self._at += 1
                if container is not None:
                    stack.append((container, key))
                container = [] if char == "[" else Pairs() if self._explain else {}
                self._skip()
                if self._char() == ("}" if char == "{" else "]"):
                    self._at += 1
                    value, container, key = self._close(container, stack)
                else:
                    if char == "{":
                        key = self._key()
                    continue
            else:
                value = self._scalar(char)
            # a value is complete: put it away, and close what ends with it
            while container is not None:
                if type(container) is list:
                    container.append(value)
                else:
                    container[key] = value
                    if self._explain:
                        container.pairs.append((key, value))
                self._skip()
                char = self._char()
                if char == ",":
                    self._at += 1
                    if type(container) is not list:
                        self._skip()
                        key = self._key()
                    break
                if char != ("]" if type(container) is list else "}"):
                    self._bad("after array element" if type(container) is list else "after object key:value pair")
                self._at += 1
                value, container, key = self._close(container, stack)
            if container is None:
                self._skip()
                if self._at < len(text):
                    self._bad("after top-level value")
                return value

    @staticmethod
    def _close(container: Any, stack: list[tuple[Any, str]]) -> tuple[Any, Any, str]:
        outer, key = stack.pop() if stack else (None, "")
        return container, outer, key

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _char(self) -> str:
        return self._text[self._at:self._at + 1]

    def _key(self) -> str:
        if self._char() != '"':
            self._bad("looking for beginning of object key string")
        key = self._string()
        self._skip()
        if self._char() != ":":
            self._bad("after object key")
        self._at += 1
        return key

    def _scalar(self, char: str) -> Any:
        if char == '"':
            return self._string()
        if char in _LITERALS:
            word, value = _LITERALS[char]
            for expected in word:
                if self._char() != expected:
                    self._bad(f"in literal {word} (expecting {_quoted(expected)})")
                self._at += 1
            return value
        if char and char in "-0123456789":
            return self._number()
        self._bad("looking for beginning of value")

    def _number(self) -> Any:
        match = _NUMBER.match(self._text, self._at)
        if match is None:
            self._at += 1
            self._bad("in numeric literal")
        self._at = match.end()
        text = match[0]
        following = self._char()
        if following == "." and not any(item in text for item in ".eE"):
            self._at += 1
            self._bad("after decimal point in numeric literal")
        if following in ("e", "E") and not any(item in text for item in "eE"):
            self._at += 1
            if self._char() in ("+", "-") and self._char():
                self._at += 1
            self._bad("in exponent of numeric literal")
        if "." in text or "e" in text or "E" in text or len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            number = Real(text) if self._explain else float(text)
            if math.isinf(number):
                raise SyntaxProblem(f"json: cannot unmarshal number {text} into Go value of type float64")
            return number
        return int(text)

    def _string(self) -> str:
        text = self._text
        self._at += 1
        parts: list[str] = []
        while True:
            match = _PLAIN.match(text, self._at)
            assert match is not None  # it may be empty
            parts.append(match[0])
            self._at = match.end()
            char = self._char()
            if char == '"':
                self._at += 1
                return "".join(parts)
            if char != "\\":
                self._bad("in string literal")
            self._at += 1
            char = self._char()
            if char == "u":
                self._at += 1
                parts.append(self._unicode())
            elif char in _ESCAPES:
                parts.append(_ESCAPES[char])
                self._at += 1
            else:
                self._bad("in string escape code")

    def _unicode(self) -> str:
        high = self._hex()
        if 0xD800 <= high < 0xDC00 and self._text.startswith("\\u", self._at):
            low = _HEX.match(self._text, self._at + 2)
            if low is not None and 0xDC00 <= int(low[0], 16) < 0xE000:
                self._at += 6
                return chr(0x10000 + ((high - 0xD800) << 10) + int(low[0], 16) - 0xDC00)
        return "\ufffd" if 0xD800 <= high < 0xE000 else chr(high)

    def _hex(self) -> int:
        match = _HEX.match(self._text, self._at)
        if match is None:
            while self._char() and self._char() in "0123456789abcdefABCDEF":
                self._at += 1
            self._bad("in \\u hexadecimal character escape")
        self._at += 4
        return int(match[0], 16)

    def _bad(self, context: str) -> NoReturn:
        char = self._char()
        if not char:
            raise SyntaxProblem("unexpected end of JSON input")
        raise SyntaxProblem(f"invalid character {_quoted(char)} {context}")


def _quoted(char: str) -> str:
    """Go scans bytes: of a character beyond ASCII it shows the first byte, read as Latin-1."""
    if char == "'":
        return r"'\''"
    if char == "\\":
        return r"'\\'"
    code = char.encode("utf-8", "surrogatepass")[0]
    if code < 0x20 or code == 0x7F:
        short = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r"}.get(code)
        return f"'\\{short}'" if short else f"'\\x{code:02x}'"
    return f"'{chr(code)}'" if code < 0x7F or code > 0xA0 else f"'\\u{code:04x}'"
