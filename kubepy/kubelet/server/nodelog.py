"""`/logs/?query=…`: what the node's services have logged, or one file below /var/log (upstream's node log query, KEP 2258).

A service's lines come from journald; where that has none, from the file it usually writes (`kubelet`, `kubelet.log`,
`kubelet/kubelet.log`). Off unless `enableSystemLogQuery` is set. What is asked for reaches journalctl as single arguments, never a shell.
"""
from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kubepy.kubelet.server import files

_SERVICE = re.compile(r"^[a-zA-Z\-._0-9@]+$")
_TIMEOUT, _PIECE, _ENOUGH = 30.0, 1 << 16, 256
_NOTHING = b"-- No entries --"


class QueryError(ValueError):
    """`code` 400 for what cannot be read, 406 for what is not taken."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class LogQuery:
    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    tail: int | None = None
    pattern: str = ""
    boot: int | None = None

    @property
    def narrowed(self) -> bool:
        return self.since is not None or self.until is not None or self.tail is not None or bool(self.pattern) or self.boot is not None


def query_of(query: Mapping[str, Sequence[str]]) -> LogQuery | None:
    """None when nothing of it is asked for. Raises QueryError."""
    asked = query.get("query") or ()
    wrong: list[str] = []

    def number(name: str) -> int | None:
        text = (query.get(name) or ("",))[0]
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            wrong.append(f'{name}: Invalid value: "{text}": must be an integer')
            return None

    def time(name: str) -> datetime | None:
        text = (query.get(name) or ("",))[0]
        if not text:
            return None
        try:
            return datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            wrong.append(f'{name}: Invalid value: "{text}": invalid time format')
            return None

    named = [entry for entry in asked if "/" in entry or "\\" in entry]
    services = [entry for entry in asked if entry not in named and entry.strip()]
    if asked and not named and not services:
        wrong.append(f"query: Invalid value: {_go(asked)}: query cannot be empty")
    found = LogQuery(tuple(services), tuple(named), time("sinceTime"), time("untilTime"), number("tailLines"),
                     (query.get("pattern") or ("",))[0], number("boot"))
    _raise(400, wrong)
    if found == LogQuery():
        return None
    _validate(found)
    return found


def _validate(query: LogQuery) -> None:
    wrong: list[str] = []
    if query.services and query.files:
        wrong.append(f"query: Invalid value: {_go((*query.services, *query.files))}: cannot specify both services and files")
    if len(query.files) > 1:
        wrong.append(f"query: Invalid value: {_go(query.files)}: cannot specify more than one file")
    if len(query.files) == 1 and query.narrowed:
        wrong.append(f"query: Invalid value: {_go(query.files)}: cannot specify file with options")
    if any(".." in re.split(r"[/\\]", name) for name in query.files):
        wrong.append(f'query: Invalid value: "{query.files[0]}": path must not contain ..')
    for service in query.services:
        if not _SERVICE.match(service) or service.startswith("-"):
            wrong.append(f'query: Invalid value: "{service}": query must contain only alphanumeric characters, hyphens, underscores, dots '
                         'and @')
    if query.since is not None and query.until is not None and query.until < query.since:
        wrong.append(f'untilTime: Invalid value: "{query.until.isoformat()}": must be after `sinceTime`')
    if query.boot is not None and query.boot > 0:
        wrong.append(f"boot: Invalid value: {query.boot}: must be less than 1")
    if query.tail is not None and query.tail < 0:
        wrong.append(f"tailLines: Invalid value: {query.tail}: must be greater than or equal to 0")
    if query.pattern:
        try:
            re.compile(query.pattern)
        except re.error as error:
            wrong.append(f'pattern: Invalid value: "{query.pattern}": {error}')
    _raise(406, wrong)


def journal_arguments(query: LogQuery) -> list[str]:
    result = ["--utc", "--no-pager", "--output=short-precise"]
    for flag, moment in (("--since", query.since), ("--until", query.until)):
        if moment is not None:
            result.append(f"{flag}={moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}")
    if query.tail is not None:
        result += ["--pager-end", f"--lines={query.tail}"]
    result += [f"--unit={service}" for service in query.services]
    if query.pattern:
        result += [f"--grep={query.pattern}", "--case-sensitive=false"]
    if query.boot is not None:
        result += ["--boot", str(query.boot)]
    return result


async def read(query: LogQuery, root: Path) -> AsyncIterator[bytes]:
    """What the services have logged."""
    if (program := shutil.which("journalctl")) is not None:
        async with asyncio.timeout(_TIMEOUT):
            process = await asyncio.create_subprocess_exec(program, *journal_arguments(query), stdin=asyncio.subprocess.DEVNULL,
                                                           stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
            try:
                assert process.stdout is not None
                piece = b""
                while len(piece) < _ENOUGH and (more := await process.stdout.read(_PIECE)):
                    piece += more
                if await _worth(process, piece):
                    while piece:
                        yield piece
                        piece = await process.stdout.read(_PIECE)
                    return
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    for service in query.services:
        async for piece in _usual_file(service, root):
            yield piece


async def _worth(process: asyncio.subprocess.Process, first: bytes) -> bool:
    """Whether journald has lines: it says so in words when it has none, or ends with an error."""
    if len(first) < _ENOUGH:
        return bool(first.strip()) and _NOTHING not in first and await process.wait() == 0
    return True


async def _usual_file(service: str, root: Path) -> AsyncIterator[bytes]:
    for name in (service, f"{service}.log", f"{service}/{service}.log"):
        try:
            path = await asyncio.to_thread(files.find, root, name.split("/"))
        except files.NoSuchFile:
            continue
        if path.is_file():
            async for piece in files.content(path):
                yield piece
            return
    yield f"log not found for {service}\n".encode()


def _go(names: Sequence[str]) -> str:
    return "[" + ",".join(f'"{name}"' for name in names) + "]"


def _raise(code: int, wrong: Sequence[str]) -> None:
    if wrong:
        raise QueryError(code, wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")
