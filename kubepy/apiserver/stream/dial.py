"""Connections from the API server to kubelets and other backends that are to be upgraded out of HTTP."""
from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubepy.api.errors import ApiError, InternalError
from kubepy.apiserver.transport import failure

DIAL_TIMEOUT = 30.0
"""Seconds to connect and to get an answer to the upgrade."""
MAX_HEAD = 64 << 10
MAX_REFUSAL = 1 << 20
_READ = 64 << 10

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream goes: `path` is the request target with its query; `context` is None for plain HTTP."""

    host: str
    port: int
    context: ssl.SSLContext | None
    path: str
    headers: Headers = field(default_factory=tuple)
    server_hostname: str | None = None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(slots=True)
class Upstream:
    """An answered upgrade request: `head` is the raw answer up to its blank line; with 101 the rest is the stream."""

    status: int
    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        return await self.reader.read(_READ)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def header(self, name: str) -> str:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode("latin-1").strip().lower() == name.lower():
                return value.decode("latin-1").strip()
        return ""

    async def refusal(self) -> bytes:
        """The body of an answer other than 101."""
        length = self.header("content-length")
        limit = min(int(length), MAX_REFUSAL) if length.isdigit() else MAX_REFUSAL
        body = b""
        async with asyncio.timeout(DIAL_TIMEOUT):
            while len(body) < limit and (data := await self.reader.read(limit - len(body))):
                body += data
        return body


async def dial(target: Target, method: str, headers: Headers) -> Upstream:
    """Sends the upgrade request and reads the answer's head; raises ApiError 500 as kube-apiserver does when it cannot connect."""
    names = {name.lower() for name, _ in target.headers}
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in (*((n, v) for n, v in headers if n.lower() not in names), *target.headers)]
    request = "\r\n".join([*lines, "", ""]).encode("latin-1")
    try:
        async with asyncio.timeout(DIAL_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                target.host, target.port, ssl=target.context,
                server_hostname=(target.server_hostname or target.host) if target.context else None)
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise _unreachable(target, error) from error
    try:
        status = int(head.split(b" ", 2)[1])
    except (IndexError, ValueError) as error:
        writer.close()
        raise InternalError.of(f"malformed answer from {target.authority}") from error
    return Upstream(status, head, reader, writer)


def _unreachable(target: Target, error: Exception) -> ApiError:
    return InternalError.of(f"error dialing backend: {failure(error, target.authority, target.server_hostname or target.host)}")
