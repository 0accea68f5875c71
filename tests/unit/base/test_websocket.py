"""The server's side of a WebSocket, fed with frames as a client would mask them."""
from __future__ import annotations

import struct

import pytest

from kubepy.base.http.websocket import BINARY, MAX_MESSAGE, TEXT, Message, WebSocket, WebSocketError, accept


def frame(opcode: int, data: bytes, *, final: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    length = len(data)
    size = struct.pack(">B", 0x80 | length) if length < 126 else struct.pack(">BH", 0x80 | 126, length)
    body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return bytes([(0x80 if final else 0) | opcode]) + size + mask + body


class Wire:
    def __init__(self, data: bytes, piece: int) -> None:
        self.incoming = [data[start:start + piece] for start in range(0, len(data), piece)]
        self.sent = b""

    async def read(self) -> bytes:
        return self.incoming.pop(0) if self.incoming else b""

    async def write(self, data: bytes) -> None:
        self.sent += data


@pytest.mark.parametrize("piece", [1, 7, 4096], ids=lambda size: f"arriving {size} bytes at a time")
@pytest.mark.parametrize(("data", "messages"), [
    pytest.param(frame(BINARY, b"\x00hi"), [Message(BINARY, b"\x00hi")], id="one message"),
    pytest.param(frame(TEXT, b"a", final=False) + frame(0, b"b" * 300), [Message(TEXT, b"a" + b"b" * 300)], id="fragments"),
    pytest.param(frame(BINARY, b""), [Message(BINARY, b"")], id="an empty message"),
])
async def test_messages_arrive_whole(data: bytes, messages: list[Message], piece: int) -> None:
    wire = Wire(data, piece)
    socket = WebSocket(wire.read, wire.write)
    assert [await socket.receive() for _ in messages] == messages
    assert await socket.receive() is None


async def test_pings_are_answered_between_fragments() -> None:
    wire = Wire(frame(BINARY, b"a", final=False) + frame(9, b"now") + frame(0, b"b"), 4096)
    assert await WebSocket(wire.read, wire.write).receive() == Message(BINARY, b"ab")
    assert wire.sent == b"\x8a\x03now"


async def test_a_close_is_answered_with_its_code() -> None:
    wire = Wire(frame(8, struct.pack(">H", 1001)), 4096)
    assert await WebSocket(wire.read, wire.write).receive() is None
    assert wire.sent == b"\x88\x02\x03\xe9"


@pytest.mark.parametrize(("data", "code"), [
    pytest.param(b"\x82\x01x", 1002, id="an unmasked frame"),
    pytest.param(b"\x82\xff" + struct.pack(">Q", MAX_MESSAGE + 1), 1009, id="a message that is too large"),
    pytest.param(frame(0, b"x"), 1002, id="a continuation of nothing"),
])
async def test_a_broken_client_is_told_why(data: bytes, code: int) -> None:
    wire = Wire(data, 4096)
    with pytest.raises(WebSocketError) as caught:
        await WebSocket(wire.read, wire.write).receive()
    assert caught.value.code == code
    assert wire.sent[2:4] == struct.pack(">H", code)


def test_the_handshake_is_that_of_the_rfc() -> None:
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in accept("dGhlIHNhbXBsZSBub25jZQ==", "")
