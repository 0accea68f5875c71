"""SPDY/3.1 as far as Kubernetes' streaming needs it: a client that opens streams over an upgraded connection.

Follows the SPDY/3 draft for framing and header compression. Flow control is left out on purpose: the peers this talks to
(kubelets, container runtimes) do not use it, and WINDOW_UPDATE frames left unread at their close cost output.
"""
from __future__ import annotations

import asyncio
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

_NAMES = (
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
    "content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
    "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
    "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
    "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
    "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive",
    "origin",
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information"
    "204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error"
    "501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, "
    "Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY: Final = b"".join(struct.pack(">I", len(name)) + name.encode() for name in _NAMES) + _TAIL.encode()
"""The draft's shared compression dictionary; its Adler-32 is 0xe3c6a7c2."""

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 6, 7, 8
_FIN = 1
MAX_FRAME = 1 << 24
MAX_UNREAD = 4 << 20
"""Bytes a stream may hold that nobody has read; then the connection is not read until someone does."""
WRITE_SIZE = 32 << 10

Read = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


class SpdyError(ConnectionError):
    """The peer broke the protocol, refused a stream or went away."""


class Stream:
    """One stream: bytes both ways, each direction closed on its own."""

    def __init__(self, session: Session, number: int) -> None:
        self._session = session
        self.number = number
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._closed = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        """The next bytes; empty when the peer has closed its side."""
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._unread -= len(chunk)
        self._changed.set()
        return chunk

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), WRITE_SIZE):
            await self._session.send_data(self.number, data[start:start + WRITE_SIZE])

    async def close_write(self) -> None:
        """Tells the peer that no more comes from here."""
        if not self._closed:
            self._closed = True
            await self._session.send_data(self.number, b"", fin=True)

    async def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._unread += len(data)
        self._changed.set()
        while self._unread > MAX_UNREAD and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    def end(self) -> None:
        self._ended = True
        self._changed.set()


class Session:
    """The client's side of a connection. `run` must be kept going; it ends with the connection."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read, self._write = read, write
        self._streams: dict[int, Stream] = {}
        self._next = 1
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    async def open_stream(self, headers: Mapping[str, str]) -> Stream:
        """Opens a stream and waits until the peer has taken it; raises SpdyError when it refuses."""
        stream = Stream(self, self._next)
        self._next += 2
        self._streams[stream.number] = stream
        block = self._deflate.compress(_header_block(headers)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIH", stream.number, 0, 0) + block
        await self._write(struct.pack(">HHI", 0x8003, _SYN_STREAM, len(body)) + body)
        await stream.opened
        return stream

    async def send_data(self, number: int, data: bytes, *, fin: bool = False) -> None:
        await self._write(struct.pack(">II", number, (_FIN if fin else 0) << 24 | len(data)) + data)

    async def run(self) -> None:
        """Reads frames until the connection ends; then every stream is at its end."""
        buffer = bytearray()
        try:
            while data := await self._read():
                buffer += data
                while len(buffer) >= 8:
                    size = int.from_bytes(buffer[5:8], "big")
                    if len(buffer) < 8 + size:
                        break
                    frame = bytes(buffer[:8 + size])
                    del buffer[:8 + size]
                    await self._frame(frame)
        finally:
            for stream in self._streams.values():
                if not stream.opened.done():
                    stream.opened.set_exception(SpdyError("the connection ended before the stream was taken"))
                stream.end()

    async def _frame(self, frame: bytes) -> None:
        first, second = struct.unpack_from(">II", frame)
        flags, payload = second >> 24, frame[8:]
        if not first & 0x80000000:
            stream = self._streams.get(first)
            if stream:
                if payload:
                    await stream.feed(payload)
                if flags & _FIN:
                    stream.end()
            return
        kind = first & 0xFFFF
        if kind in (_SYN_REPLY, _HEADERS):
            self._inflate.decompress(payload[4:], MAX_FRAME)  # the shared compression state must see every block
            stream = self._streams.get(struct.unpack_from(">I", payload)[0])
            if stream and not stream.opened.done():
                stream.opened.set_result(None)
            if stream and flags & _FIN:
                stream.end()
        elif kind == _RST_STREAM:
            number, status = struct.unpack_from(">II", payload)
            stream = self._streams.get(number)
            if stream:
                if not stream.opened.done():
                    stream.opened.set_exception(SpdyError(f"the peer refused a stream (status {status})"))
                stream.end()
        elif kind == _PING and struct.unpack_from(">I", payload)[0] % 2 == 0:
            await self._write(frame)
        elif kind == _SYN_STREAM:
            self._inflate.decompress(payload[10:], MAX_FRAME)
        elif kind == _GOAWAY:
            for stream in self._streams.values():
                if not stream.opened.done():
                    stream.opened.set_exception(SpdyError("the peer is going away"))


def _header_block(headers: Mapping[str, str]) -> bytes:
    parts = [struct.pack(">I", len(headers))]
    for name, value in headers.items():
        for text in (name.lower().encode(), value.encode()):
            parts.append(struct.pack(">I", len(text)) + text)
    return b"".join(parts)
