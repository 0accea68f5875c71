"""Container logs: the runtime's files read from their start or end, filtered, followed through rotation (`kubectl logs`)."""
from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from kubepy.base.clock import Clock

_BLOCK = 64 * 1024
_FOLLOW = 0.2


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    tail: int | None = None
    since: float | None = None
    """Seconds since the epoch."""
    timestamps: bool = False
    previous: bool = False
    limit: int | None = None
    """Bytes."""
    stream: str = "All"
    """All, Stdout or Stderr."""


class OptionsError(ValueError):
    pass


def options_of(query: dict[str, list[str]], now: float) -> LogOptions:
    """From a request's query. Raises OptionsError."""
    def first(name: str) -> str | None:
        values = query.get(name)
        return values[0] if values and values[0] != "" else None

    def number(name: str) -> int | None:
        text = first(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError as error:
            raise OptionsError(f"invalid {name}: {text!r}") from error

    def flag(name: str) -> bool:
        values = query.get(name)
        return values is not None and values[0].lower() not in ("false", "0")

    tail, limit, seconds = number("tailLines"), number("limitBytes"), number("sinceSeconds")
    if tail is not None and tail < 0:
        raise OptionsError("tailLines must be greater than or equal to 0")
    if limit is not None and limit < 1:
        raise OptionsError("limitBytes must be greater than 0")
    since = now - seconds if seconds is not None else None
    if (text := first("sinceTime")) is not None:
        try:
            since = moment(text)
        except ValueError as error:
            raise OptionsError(f"invalid sinceTime: {text!r}") from error
    return LogOptions(flag("follow"), tail, since, flag("timestamps"), flag("previous"), limit, first("stream") or "All")


def moment(text: str) -> float:
    """Seconds of an RFC 3339 time with any number of decimals."""
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    return datetime.fromisoformat(text).timestamp()


def tail_offset(descriptor: int, lines: int) -> int:
    """Where the last `lines` lines of a file begin."""
    size = os.fstat(descriptor).st_size
    if lines == 0:
        return size
    end = size
    found = 0
    while end > 0:
        start = max(0, end - _BLOCK)
        block = os.pread(descriptor, end - start, start)
        position = len(block)
        if end == size and block.endswith(b"\n"):
            position -= 1
        while (position := block.rfind(b"\n", 0, position)) >= 0:
            found += 1
            if found == lines:
                return start + position + 1
        end = start
    return 0


class Formatter:
    """Turns the runtime's lines (`time stream tag text`) into what the client sees."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._since = options.since
        self._left = options.limit
        self._partial = False

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def lines(self, data: bytes) -> Iterator[bytes]:
        for line in data.split(b"\n"):
            if self.full:
                return
            if shown := self._line(line):
                if self._left is not None:
                    shown = shown[:self._left]
                    self._left -= len(shown)
                yield shown

    def _line(self, line: bytes) -> bytes:
        parts = line.split(b" ", 3)
        if len(parts) < 3:
            return b""
        stamp, stream, tag = parts[:3]
        text = parts[3] if len(parts) > 3 else b""
        if self._since is not None:
            try:
                if moment(stamp.decode()) < self._since:
                    return b""
            except ValueError:
                return b""
            self._since = None
        wanted = self._options.stream
        if wanted != "All" and stream.decode().lower() != wanted.lower():
            return b""
        ends = not tag.split(b":")[0].startswith(b"P")
        shown = text + b"\n" if ends else text
        if self._options.timestamps and not self._partial:
            shown = stamp + b" " + shown
        self._partial = not ends
        return shown


async def read_log(path: str, options: LogOptions, running: Callable[[], Awaitable[bool]], clock: Clock) -> AsyncIterator[bytes]:
    """The log's content in pieces. With `follow` until the container has ended. Raises FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY)
    formatter = Formatter(options)
    try:
        if options.tail is not None:
            os.lseek(descriptor, tail_offset(descriptor, options.tail), os.SEEK_SET)
        rest = b""
        ended = False
        checked = clock.monotonic()
        while not formatter.full:
            block = os.read(descriptor, _BLOCK)
            if block:
                rest += block
                whole, newline, rest = rest.rpartition(b"\n")
                if newline and (shown := b"".join(formatter.lines(whole))):
                    yield shown
                continue
            if not options.follow or ended:
                break
            try:
                rotated = os.stat(path).st_ino != os.fstat(descriptor).st_ino
            except FileNotFoundError:
                rotated = False
                ended = not await running()
            if rotated:
                os.close(descriptor)
                descriptor = os.open(path, os.O_RDONLY)
                continue
            if clock.monotonic() - checked > 1.0:
                checked = clock.monotonic()
                ended = not await running()
                if ended:
                    continue  # what was written last is still to be read
            await clock.sleep(_FOLLOW)
        if rest and not formatter.full and (shown := b"".join(formatter.lines(rest))):
            yield shown
    finally:
        os.close(descriptor)
