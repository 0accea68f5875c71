"""gRPC calls to one etcd endpoint over a connection that is made when needed and made anew when lost."""
from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from kubepy.apiserver.storage.http2 import Connection, Stream
from kubepy.apiserver.storage.rpc_error import UNAVAILABLE, RpcError
from kubepy.base.task import Tasks

CONNECT_SECONDS = 5.0


class Channel:
    """The endpoint at `url` (http, https or unix). `context` gives TLS's settings for each connection, so that renewed files count."""

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext]) -> None:
        scheme, _, rest = url.rpartition("://")
        if scheme not in ("", "http", "https", "unix"):
            raise ValueError(f"etcd endpoint {url!r}: the scheme must be http, https or unix")
        self._scheme, self._context = scheme, context
        self._socket = rest if scheme == "unix" else ""
        parts = urlsplit(f"//{rest}")
        self._host, self._port = parts.hostname or "localhost", parts.port or 2379
        self._authority = "localhost" if self._socket else parts.netloc
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection | RpcError] | None = None
        self._tasks = Tasks("etcd channel")

    def headers(self, method: str, metadata: Sequence[tuple[str, str]] = ()) -> bytes:
        """The header block of calls to a method (HPACK, literals without indexing)."""
        block = b"\x83" + (b"\x87" if self._scheme == "https" else b"\x86")
        block += b"\x04" + _text(method) + b"\x01" + _text(self._authority) + b"\x0f\x10" + _text("application/grpc")
        for name, value in (("te", "trailers"), ("user-agent", "kubepy"), *metadata):
            block += b"\x00" + _text(name) + _text(value)
        return block

    async def unary(self, headers: bytes, message: bytes, timeout: float) -> bytes:
        """One message there and one back within `timeout` seconds; raises RpcError."""
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connect(timeout)
        stream = connection.call(headers, message)
        timer = asyncio.get_running_loop().call_later(timeout, stream.expire)
        try:
            return await stream.answer()
        finally:
            timer.cancel()
            stream.cancel()

    async def stream(self, headers: bytes, timeout: float) -> Stream:
        """Begins a call with messages both ways; raises RpcError."""
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connect(timeout)
        return connection.begin(headers)

    async def close(self) -> None:
        await self._tasks.stop()
        if self._connection is not None:
            self._connection.close()

    async def _connect(self, timeout: float) -> Connection:
        if self._connecting is None:
            self._connecting = self._tasks.start(self._open(), "connect")
        done, _ = await asyncio.wait([self._connecting], timeout=timeout)
        if not done:
            raise RpcError(UNAVAILABLE, "no connection in time")
        found = next(iter(done)).result()
        if isinstance(found, RpcError):
            raise RpcError(found.code, found.details)
        return found

    async def _open(self) -> Connection | RpcError:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._socket:
                    _, connection = await loop.create_unix_connection(Connection, self._socket)
                elif self._scheme == "https":
                    _, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._context())
                else:
                    _, connection = await loop.create_connection(Connection, self._host, self._port)
        except (OSError, TimeoutError) as error:
            return RpcError(UNAVAILABLE, f"cannot connect: {error or 'no answer'}")
        finally:
            self._connecting = None
        self._connection = connection
        return connection


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest & 127 | 128,))
        rest >>= 7
    return size + bytes((rest,)) + data
