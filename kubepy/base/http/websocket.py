"""The server's side of a WebSocket (RFC 6455) over a connection taken out of HTTP."""
from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, TEXT, BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
MAX_MESSAGE = 4 << 20
"""Bytes a message may have; a larger one ends the connection with code 1009."""

Read = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


class WebSocketError(ConnectionError):
    """The client broke the protocol; `code` is the close code that was sent."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Message(NamedTuple):
    kind: int
    """TEXT or BINARY."""
    data: bytes


def accept(key: str, protocol: str) -> bytes:
    """The 101 answer to a handshake with this Sec-WebSocket-Key."""
    digest = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    chosen = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    return ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {digest}\r\n{chosen}\r\n").encode()


class WebSocket:
    """Messages both ways; pings are answered here. One task may receive while others send."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read, self._write = read, write
        self._buffer = bytearray()
        self._closed = False

    async def receive(self) -> Message | None:
        """The next message; None when the client has closed or gone. Raises WebSocketError for a broken one."""
        kind, size = 0, 0
        parts: list[bytes] = []
        while True:
            header = await self._take(2)
            if header is None:
                return None
            final, opcode, masked, length = header[0] & 0x80, header[0] & 0x0F, header[1] & 0x80, header[1] & 0x7F
            if header[0] & 0x70 or not masked:
                raise await self._fail(1002, "a client frame must be masked and use no extension")
            if length >= 126:
                extended = await self._take(2 if length == 126 else 8)
                if extended is None:
                    return None
                length = int.from_bytes(extended, "big")
            if size + length > MAX_MESSAGE:
                raise await self._fail(1009, f"a message may have at most {MAX_MESSAGE} bytes")
            body = await self._take(4 + length)
            if body is None:
                return None
            payload = _unmask(body[4:], body[:4])
            if opcode == _CLOSE:
                await self.close(int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1000)
                return None
            if opcode == _PING:
                await self._send(_PONG, payload)
            elif opcode in (TEXT, BINARY, _CONTINUATION):
                if (opcode == _CONTINUATION) != bool(parts):
                    raise await self._fail(1002, "a fragment is out of place")
                kind = kind or opcode
                parts.append(payload)
                size += length
                if final:
                    return Message(kind, parts[0] if len(parts) == 1 else b"".join(parts))
            elif opcode != _PONG:
                raise await self._fail(1002, f"unknown opcode {opcode}")

    async def send(self, data: bytes, kind: int = BINARY) -> None:
        await self._send(kind, data)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Sends a close frame, once."""
        if not self._closed:
            self._closed = True
            await self._send(_CLOSE, struct.pack(">H", code) + reason.encode()[:120])

    async def _fail(self, code: int, message: str) -> WebSocketError:
        await self.close(code, message)
        return WebSocketError(code, message)

    async def _send(self, opcode: int, data: bytes) -> None:
        length = len(data)
        if length < 126:
            head = struct.pack(">BB", 0x80 | opcode, length)
        elif length < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 127, length)
        await self._write(head + data)

    async def _take(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            data = await self._read()
            if not data:
                return None
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _unmask(data: bytes, mask: bytes) -> bytes:
    """XOR in one big-integer step: a byte loop would cost a hundred times more."""
    if not data:
        return b""
    key = (mask * (len(data) // 4 + 1))[:len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
