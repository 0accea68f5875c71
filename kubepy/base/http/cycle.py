"""One request and its answer on a connection: the ASGI `receive` and `send` of the protocol.

An answer whose body is complete in one message goes out in one write with a Content-Length; others are chunked.
"""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kubepy.base.http.raw import RawConnection
from kubepy.base.log import get_logger

if TYPE_CHECKING:
    from kubepy.base.http.protocol import HttpProtocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = get_logger("http")

BODY_HIGH = 4 << 20
"""Bytes of a request body held before the connection is read no further."""
_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_BARE = frozenset((204, 304))


class Cycle:
    __slots__ = ("_body", "_chunked", "_expect", "_headers", "_keep_alive", "_protocol", "_size", "_status", "_waiter",
                 "complete", "disconnected", "hijacked", "more", "scope", "started", "task")

    def __init__(self, protocol: HttpProtocol, scope: Scope, keep_alive: bool, expect: bool) -> None:
        self._protocol = protocol
        self.scope = scope
        self._keep_alive = keep_alive
        self._expect = expect
        self._body: list[bytes] = []
        self._size = 0
        self.more = True
        self._waiter: asyncio.Future[None] | None = None
        self.disconnected = False
        self.started = False
        self.complete = False
        self.hijacked = False
        self._chunked = False
        self._status = 200
        self._headers: Any = ()
        self.task: asyncio.Task[None] | None = None

    async def run(self, app: App) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.disconnected:
                self._protocol.transport.close()
            return
        except ConnectionResetError:
            pass
        except Exception as error:
            log.error("Request failed", error, method=self.scope["method"], path=self.scope["path"])
            if not self.started and not self.disconnected and not self.hijacked:
                await self.send({"type": "http.response.start", "status": 500,
                                 "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]})
                await self.send({"type": "http.response.body", "body": b"Internal Server Error"})
        finally:
            self.scope.clear()  # it and what hangs on it refer to each other: each request would wait for the garbage collector
        if self.hijacked or self.disconnected:
            return
        if not self.complete:  # the answer broke off: the peer must not take it for a whole one
            self._protocol.transport.close()

    def feed(self, data: bytes) -> None:
        if self.complete:
            return
        self._body.append(data)
        self._size += len(data)
        if self._size > BODY_HIGH:
            self._protocol.pause_reading()
        self._wake()

    def end_body(self) -> None:
        self.more = False
        self._wake()

    def disconnect(self) -> None:
        self.disconnected = True
        self._wake()
        if self.task is not None and not self.complete and not self.hijacked:
            self.task.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> Message:
        if self._expect:
            self._expect = False
            if not self._body and self.more:
                self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._body and self.more and not self.disconnected and not self.complete:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.disconnected or self.complete or (not self._body and not self.more and self._size < 0):
            return {"type": "http.disconnect"}
        body = b"".join(self._body)
        self._body.clear()
        self._size = 0
        if self.more:
            self._protocol.resume_reading()
        else:
            self._size = -1  # the body was handed over: what comes next is the end of the connection
        return {"type": "http.request", "body": body, "more_body": self.more}

    async def send(self, message: Message) -> None:
        if self.disconnected:
            raise ConnectionResetError("the client has gone")
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
            return
        body = message.get("body", b"")
        more = message.get("more_body", False)
        protocol = self._protocol
        if not self.started:
            self.started = True
            head = self._head(None if more else len(body))
            if self.scope["method"] == "HEAD" or self._status in _BARE:
                protocol.transport.write(head)
            elif not more:
                if len(body) < 65536:
                    protocol.transport.write(head + body)
                else:
                    protocol.transport.write(head)
                    protocol.transport.write(body)
            else:
                protocol.transport.write(head + self._frame(body) if body else head)
        elif self.scope["method"] != "HEAD":
            data = self._frame(body) if body else b""
            if not more and self._chunked:
                data += b"0\r\n\r\n"
            if data:
                protocol.transport.write(data)
        if not more:
            self._finish()
        elif protocol.flow.paused:
            await protocol.flow.drain()

    def push(self, data: bytes) -> bool:
        """Sends more of a body that has begun, without waiting; False where that cannot be: `send` then waits or fails."""
        protocol = self._protocol
        if self.disconnected or self.complete or not self.started or protocol.flow.paused:
            return False
        protocol.transport.write(self._frame(data))
        return True

    def _frame(self, body: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body

    def _head(self, length: int | None) -> bytes:
        given = b"".join([b"%b: %b\r\n" % pair for pair in self._headers])
        parts = [_LINES.get(self._status) or b"HTTP/1.1 %d Unknown\r\n" % self._status, given]
        lower = b"\n" + given.lower()
        sized = b"\ncontent-length:" in lower
        if b"\nconnection: close\r" in lower:
            self._keep_alive = False
        if not sized and self._status not in _BARE:
            if length is not None:
                parts.append(b"content-length: %d\r\n" % length)
            elif self.scope["http_version"] == "1.1":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
            else:
                self._keep_alive = False
        parts.append(self._protocol.date())
        if self.more and self.scope["method"] not in ("GET", "HEAD"):
            self._keep_alive = False  # the request's body was not read to its end
        if self._protocol.closing:
            self._keep_alive = False
        if not self._keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def _finish(self) -> None:
        self.complete = True
        self._wake()
        self._protocol.finished(self._keep_alive)

    def hijack(self) -> RawConnection:
        """Takes the connection; nothing more is answered here."""
        if self.started or self.disconnected:
            raise ConnectionResetError("the connection cannot be taken over")
        self.hijacked = True
        return self._protocol.take_over()
