"""HTTP/1.1 to one server over kept-alive connections: what requests cost a component is mostly here, so it does little.

    wire = Wire("https://127.0.0.1:6443", credentials.context, limit=64)
    answer = await wire.request("GET", "/api", head, None, timeout=60.0)      # Answer(status, headers, content)
    async with wire.stream("GET", "/api/v1/pods?watch=true", head, silence=360.0) as (status, connection): ...

A general client costs four times as much for a request, and the components make ten requests for each pod. Not done, because no
component needs it: redirects, cookies, proxies, compressed answers. Raises ConnectionError (timeouts among them) when no answer came.
"""
from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 75.0
MAX_BUFFERED = 4 << 20
"""Bytes of a stream that wait to be read before the server is made to wait."""
_REPEATABLE = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))


class Answer(NamedTuple):
    """`headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    content: bytes


class Stale(ConnectionError):
    """A kept connection turned out to be closed before anything of an answer came."""


class Connection(asyncio.Protocol):
    """One exchange at a time. `context` is the TLS context it was made with: another one means another identity."""

    def __init__(self, context: ssl.SSLContext | None, on_lost: Callable[[Connection], None]) -> None:
        self.context = context
        self.lost = False
        self.used = 0
        self.idle_since = 0.0
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._begun = self._complete = self._head_complete = False
        self._paused = self._streams = self._keep = False
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._buffered = 0

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._begun = self._complete = self._head_complete = False
        self._status, self._headers, self._body, self._buffered, self._error = 0, {}, [], 0, None
        self.used += 1
        self._transport.write(data)

    async def answer(self) -> Answer:
        while not self._complete:
            await self._wait()
        return Answer(self._status, self._headers, b"".join(self._body))

    async def head(self) -> int:
        while not self._head_complete:
            await self._wait()
        return self._status

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, until the server ends it."""
        while True:
            body, self._body, self._buffered = self._body, [], 0
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()
            for part in body:
                yield part
            if not body:
                if self._complete:
                    return
                await self._wait()

    @property
    def reusable(self) -> bool:
        return self._complete and self._keep and not self.lost

    def close(self) -> None:
        if self._transport is not None and not self.lost:
            self._transport.abort()

    def expire(self) -> None:
        self._error = ConnectionError("timed out")
        self.close()
        self._wake()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._complete:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._error = ConnectionError(f"not an HTTP answer: {error}")
            self.close()
        if self._buffered > MAX_BUFFERED and not self._paused and self._streams and not self._complete:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def read_as_stream(self) -> None:
        """From now on the body is taken in parts: a reader that falls behind holds the server back."""
        self._streams = True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self._complete:
            until_close = self._head_complete and "content-length" not in self._headers and "transfer-encoding" not in self._headers
            if until_close and error is None:
                self._complete = True
            elif self._error is None:
                kind = ConnectionError if self._begun or self.used < 2 else Stale
                self._error = kind(str(error) if error is not None else "the server closed the connection")
        self._on_lost(self)
        self._wake()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._head_complete = self._status >= 200

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._complete, self._keep = True, self._parser.should_keep_alive()  # it forgets after this call
        else:
            self._headers = {}  # an informational answer: the real one follows


class Wire:
    """Connections to the server of `url`; at most `limit` are used by requests at once, streams have their own.

    `context` gives the TLS context to use now; a new one (rotated certificates) is used by new connections."""

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext], *, limit: int = 64, server_name: str = "") -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._address = parts.hostname or "", parts.port or (443 if self._tls else 80)
        self._server_name = server_name or (parts.hostname or "")
        self._context = context
        self._prefix = parts.path.rstrip("/")
        self.host = parts.netloc.rpartition("@")[2]
        self._host_line = f"Host: {self.host}\r\n"
        self._gate = asyncio.Semaphore(limit)
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()

    async def request(self, method: str, target: str, head: str, body: bytes | None, timeout: float) -> Answer:
        """`head` is further header lines, each ended by CR LF; `timeout` in seconds covers waiting for a connection too."""
        data = self._bytes(method, target, head, body)
        with _failures():
            async with asyncio.timeout(timeout), self._gate:
                while True:
                    connection = await self._get()
                    try:
                        connection.send(data)
                        answer = await connection.answer()
                    except Stale:
                        if method in _REPEATABLE:
                            continue
                        raise
                    except BaseException:
                        connection.close()
                        raise
                    self._give_back(connection)
                    return answer

    @asynccontextmanager
    async def stream(self, method: str, target: str, head: str, silence: float | None) -> AsyncIterator[tuple[int, Connection]]:
        """A connection of its own, closed at the end; `silence` bounds the whole in seconds. Read its `chunks()`."""
        with _failures():
            connection = await self._connect()
        timer = asyncio.get_running_loop().call_later(silence, connection.expire) if silence else None
        try:
            connection.send(self._bytes(method, target, head, None))
            connection.read_as_stream()
            status = await connection.head()
            yield status, connection
        finally:
            if timer is not None:
                timer.cancel()
            connection.close()

    async def close(self) -> None:
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)

    def _bytes(self, method: str, target: str, head: str, body: bytes | None) -> bytes:
        start = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._host_line}{head}"
        if body is None:
            return f"{start}\r\n".encode("latin-1")
        return f"{start}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body

    async def _get(self) -> Connection:
        context = self._context() if self._tls else None
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.context is context and not connection.lost and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return await self._connect()

    def _give_back(self, connection: Connection) -> None:
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    async def _connect(self) -> Connection:
        context = self._context() if self._tls else None
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await loop.create_connection(
                lambda: Connection(context, self._lost), *self._address, ssl=context,
                server_hostname=self._server_name if context is not None else None)
        self._open.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


@contextmanager
def _failures() -> Iterator[None]:
    """Whatever keeps an answer from coming is a ConnectionError."""
    try:
        yield
    except TimeoutError as error:
        raise ConnectionError("timed out") from error
    except ConnectionError:
        raise
    except ssl.SSLError as error:
        raise ConnectionError(f"TLS: {error}") from error
    except OSError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error


def _keep_alive(found: socket.socket) -> None:
    """Half a minute is enough to notice that the other side is gone without a word (a pulled cable, a dead node)."""
    if found is None or found.family == socket.AF_UNIX:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
