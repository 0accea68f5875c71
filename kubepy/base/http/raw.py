"""A connection taken out of HTTP: bytes both ways, with flow control in both directions."""
from __future__ import annotations

import asyncio
from collections import deque

_HIGH = 1 << 20
_LOW = 1 << 18


class Flow:
    """Whether the transport wants more; shared by whoever writes to it."""

    __slots__ = ("_waiter", "closed", "paused")

    def __init__(self) -> None:
        self.paused = False
        self.closed = False
        self._waiter: asyncio.Future[None] | None = None

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None

    def close(self) -> None:
        self.closed = True
        self.resume()

    async def drain(self) -> None:
        """Waits until the peer has taken enough; raises ConnectionResetError when it is gone."""
        while self.paused and not self.closed:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)
        if self.closed:
            raise ConnectionResetError("the connection is closed")


class RawConnection:
    """What `hijack()` gives. The owner must close it."""

    def __init__(self, transport: asyncio.Transport, flow: Flow, rest: bytes) -> None:
        self._transport = transport
        self._flow = flow
        self._chunks: deque[bytes] = deque([rest] if rest else ())
        self._size = len(rest)
        self._ended = flow.closed
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Called by the protocol with what arrived."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _HIGH:
            self._transport.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """The next bytes, empty at the end of the stream."""
        while not self._chunks:
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self._chunks.popleft()
        before, self._size = self._size, self._size - len(chunk)
        if before > _LOW >= self._size and not self._ended:
            self._transport.resume_reading()
        return chunk

    async def write(self, data: bytes) -> None:
        """Sends; waits while the peer is slow."""
        if self._flow.closed:
            raise ConnectionResetError("the connection is closed")
        self._transport.write(data)
        await self._flow.drain()

    def close(self) -> None:
        self._transport.close()
