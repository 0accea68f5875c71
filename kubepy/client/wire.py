"""HTTP/1.1 to one server over kept-alive connections: what requests cost a component is mostly here, so it does little.

    wire = Wire("https://127.0.0.1:6443", credentials.context, limit=64)
    answer = await wire.request("GET", "/api", head, None, timeout=60.0)      # Answer(status, headers, content)
    async with wire.stream("GET", "/api/v1/pods?watch=true", head, silence=360.0) as (status, connection): ...

A general client costs six times as much for a request, and the components make eight requests for each pod. Not done, because no
component needs it: redirects, cookies, proxies, compressed answers. Raises ConnectionError (timeouts among them) when no answer came.
Deadlines are looked at four times a second for all requests together: a timer for each costs more than the rest of it.
"""
from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 75.0
SWEEP_SECONDS = 0.25
MAX_BUFFERED = 4 << 20
"""Bytes of a stream that wait to be read before the server is made to wait."""
_REPEATABLE = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))


class Answer(NamedTuple):
    status: int
    headers: Mapping[bytes, bytes]
    """As the server wrote them."""
    content: bytes

    def header(self, name: str) -> str:
        """By its lower-case name; "" when it is not there."""
        wanted = name.encode("latin-1")
        return next((value.decode("latin-1") for key, value in self.headers.items() if key.lower() == wanted), "")


class Stale(ConnectionError):
    """A kept connection turned out to be closed before anything of an answer came."""


class Connection(asyncio.Protocol):
    """One exchange at a time. `context` is the TLS context it was made with: another one means another identity."""

    def __init__(self, context: ssl.SSLContext | None, on_lost: Callable[[Connection], None]) -> None:
        self.context = context
        self.lost = False
        self.used = 0
        self.idle_since = 0.0
        self.deadline = math.inf
        """When the exchange under way is given up, in the loop's time."""
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._headers: dict[bytes, bytes] = {}
        self.on_header = self._headers.__setitem__  # the parser takes it as it is: no call of ours for each header
        self._parser: Any = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._begun = self._complete = self._head_complete = False
        self._paused = self._streams = self._keep = False
        self._status = 0
        self._body: list[bytes] = []
        self._buffered = 0

    def exchange(self, data: bytes, deadline: float) -> asyncio.Future[Answer]:
        """Sends a request; the answer, when it is there in full."""
        self._answer = answer = self._loop.create_future()
        self.deadline = deadline
        self._send(data)
        return answer

    def stream(self, data: bytes) -> None:
        """Sends a request whose answer is read by `head` and `read`: a reader that falls behind holds the server back."""
        self._streams = True
        self._send(data)

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
        self._begun = self._complete = self._head_complete = False
        self._status, self._body, self._buffered, self._error = 0, [], 0, None
        self._headers.clear()
        self.used += 1
        if self.lost:
            self._fail(ConnectionError("the server closed the connection"))
        else:
            self._transport.write(data)

    async def head(self) -> int:
        while not self._head_complete:
            await self._wait()
        return self._status

    async def read(self) -> list[bytes]:
        """What has come of the body since the last time; nothing when the server has ended it."""
        while not self._body and not self._complete:
            await self._wait()
        body, self._body, self._buffered = self._body, [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body

    @property
    def reusable(self) -> bool:
        return self._complete and self._keep and not self.lost

    def close(self) -> None:
        if self._transport is not None and not self.lost:
            self._transport.abort()

    def expire(self) -> None:
        self._fail(ConnectionError("timed out"))
        self.close()

    def _fail(self, error: Exception) -> None:
        self._error = error
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._wake()

    def _finish(self) -> None:
        self._complete, self.deadline = True, math.inf
        if self._answer is not None and not self._answer.done():
            content = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._answer.set_result(Answer(self._status, dict(self._headers), content))

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
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
            self._fail(ConnectionError(f"not an HTTP answer: {error}"))
            self.close()
        if self._streams:
            if self._buffered > MAX_BUFFERED and not self._paused and not self._complete:
                assert self._transport is not None
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self.deadline = math.inf
        if not self._complete and self._error is None and self.used:
            bounded = any(name.lower() in (b"content-length", b"transfer-encoding") for name in self._headers)
            if self._head_complete and not bounded and error is None:  # the connection's end is the answer's
                self._finish()
            else:
                kind = ConnectionError if self._begun or self.used < 2 else Stale
                self._fail(kind(str(error) if error is not None else "the server closed the connection"))
        self._on_lost(self)
        self._wake()
        self._parser = None  # they know each other: with TLS' buffers they would wait for the collector of cycles

    # httptools; headers go straight into their dict

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._head_complete = self._status >= 200

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._keep = self._parser.should_keep_alive()  # it forgets after this call
            self._finish()
        else:
            self._headers.clear()  # an informational answer: the real one follows


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
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def request(self, method: str, target: str, head: str, body: bytes | None, timeout: float) -> Answer:
        """`head` is further header lines, each ended by CR LF; `timeout` in seconds covers waiting for a connection too."""
        data = self._bytes(method, target, head, body)
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + timeout
        if self._free > 0:
            self._free -= 1
        else:
            await self._turn(deadline)
        try:
            while True:
                connection = self._kept(now) or await self._connected(deadline)
                if self._sweeper is None:
                    self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)
                try:
                    answer = await connection.exchange(data, deadline)
                except Stale:
                    if method in _REPEATABLE:
                        continue
                    raise
                except BaseException:
                    connection.close()
                    raise
                if connection.reusable:
                    connection.idle_since = now  # when the request began: good enough for who waits a minute
                    self._idle.append(connection)
                else:
                    connection.close()
                return answer
        finally:
            if self._waiting:
                self._hand_over()
            else:
                self._free += 1

    @asynccontextmanager
    async def stream(self, method: str, target: str, head: str, silence: float | None) -> AsyncIterator[tuple[int, Connection]]:
        """A connection of its own, closed at the end; `silence` bounds the whole in seconds. `read()` it."""
        with _failures():
            connection = await self._connect()
        timer = asyncio.get_running_loop().call_later(silence, connection.expire) if silence else None
        try:
            connection.stream(self._bytes(method, target, head, None))
            status = await connection.head()
            yield status, connection
        finally:
            if timer is not None:
                timer.cancel()
            connection.close()

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)

    async def _turn(self, deadline: float) -> None:
        """Waits until fewer than `limit` requests are under way; who leaves hands the place over."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(deadline - loop.time()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._hand_over()  # it was ours already
            if isinstance(error, TimeoutError):
                raise ConnectionError("timed out") from error
            raise

    def _hand_over(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now, busy = loop.time(), False
        for connection in list(self._open):
            if connection.deadline <= now:
                connection.expire()
            elif connection.deadline < math.inf:
                busy = True
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if busy else None

    def _bytes(self, method: str, target: str, head: str, body: bytes | None) -> bytes:
        start = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._host_line}{head}"
        if body is None:
            return f"{start}\r\n".encode("latin-1")
        return f"{start}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body

    def _kept(self, now: float) -> Connection | None:
        context = self._context() if self._tls else None
        while self._idle:
            connection = self._idle.pop()
            if connection.context is context and not connection.lost and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    async def _connected(self, deadline: float) -> Connection:
        with _failures():
            async with asyncio.timeout(deadline - asyncio.get_running_loop().time()):
                return await self._connect()

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
