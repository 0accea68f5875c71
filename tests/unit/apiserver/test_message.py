"""Logs and watches as WebSocket messages: what a browser gets."""
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubepy.api.errors import ApiError, BadRequest
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.stream.handshake import without_token
from kubepy.apiserver.stream.message import asked_for, log_messages, watch_messages
from kubepy.base.http.websocket import BINARY, TEXT

HANDSHAKE = [(b"upgrade", b"WebSocket"), (b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")]
TOKEN = b"base64url.bearer.authorization.k8s.io.c2VjcmV0"


class Client:
    """The connection after the upgrade: what was written, and an end that comes when the client is told to leave."""

    def __init__(self) -> None:
        self.sent, self.closed = b"", False
        self.left = asyncio.Event()

    async def read(self) -> bytes:
        await self.left.wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    @property
    def head(self) -> bytes:
        return self.sent.partition(b"\r\n\r\n")[0]

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        rest, found = self.sent.partition(b"\r\n\r\n")[2], []
        while rest:
            found.append((rest[0] & 15, rest[2:2 + rest[1]]))
            rest = rest[2 + rest[1]:]
        return found


def exchange(client: Client, protocols: bytes = b"", plain: list[Any] | None = None) -> Exchange:
    async def send(message: Any) -> None:
        if plain is not None:
            plain.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    headers = [*HANDSHAKE, *([(b"sec-websocket-protocol", protocols)] if protocols else [])]
    return Exchange({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers, "upgrade": True,
                     "extensions": {"hijack": lambda: client}}, receive, send)


CLOSE = (8, b"\x03\xe8")


@pytest.mark.parametrize(("protocols", "named", "frames"), [
    pytest.param(b"", b"", [(BINARY, b""), (BINARY, b"one\n"), (BINARY, b"two\n"), CLOSE], id="without a protocol"),
    pytest.param(b"binary.k8s.io", b"binary.k8s.io", [(BINARY, b""), (BINARY, b"one\n"), (BINARY, b"two\n"), CLOSE], id="binary"),
    pytest.param(TOKEN + b", base64.binary.k8s.io", b"base64.binary.k8s.io", [(TEXT, b""), (TEXT, b"b25lCg=="), (TEXT, b"dHdvCg=="), CLOSE],
                 id="base64, beside a credential"),
])
async def test_a_log_comes_in_messages(protocols: bytes, named: bytes, frames: list[tuple[int, bytes]]) -> None:
    client = Client()
    asked = exchange(client, protocols)
    assert asked_for(asked)

    async def serve() -> None:
        await asked.start_stream(b"text/plain")
        await asked.chunk(b"one\n")
        await asked.chunk(b"two\n")
        await asked.end_stream()

    await log_messages(asked, serve)
    assert client.head.startswith(b"HTTP/1.1 101 ")
    assert (b"Sec-WebSocket-Protocol: " + named in client.head) == bool(named)
    assert client.frames == frames
    assert client.closed


@pytest.mark.parametrize(("content", "data", "frames"), [
    pytest.param(b"application/json", b'{"type":"ADDED"}\n{"type":"DELETED"}\n',
                 [(TEXT, b'{"type":"ADDED"}\n'), (TEXT, b'{"type":"DELETED"}\n')],
                 id="JSON"),
    pytest.param(b"application/vnd.kubernetes.protobuf;stream=watch", b"\0\0\0\x02ab\0\0\0\x01c", [(BINARY, b"ab"), (BINARY, b"c")],
                 id="protobuf"),
])
async def test_each_event_is_a_message_until_the_client_leaves(content: bytes, data: bytes, frames: list[tuple[int, bytes]]) -> None:
    client = Client()
    asked = exchange(client)

    async def serve() -> None:
        await asked.start_stream(content)
        assert not asked.scope["extensions"]["push"](b"past the messages")
        await asked.chunk(data)
        client.left.set()
        await asyncio.get_running_loop().create_future()

    await asyncio.wait_for(watch_messages(asked, serve), 30)
    assert client.frames == frames
    assert client.closed


async def test_what_fails_before_it_starts_is_an_answer_of_http() -> None:
    client, plain = Client(), list[Any]()

    async def refuse() -> None:
        raise BadRequest("no such container")

    with pytest.raises(BadRequest):
        await log_messages(exchange(client), refuse)
    with pytest.raises(ApiError, match=r"requested protocol\(s\) are not supported: \[v4\.channel\.k8s\.io\]"):
        await log_messages(exchange(client, b"v4.channel.k8s.io"), refuse)
    asked = exchange(client, plain=plain)
    await watch_messages(asked, lambda: asked.answer(410, b"gone"))
    assert [message.get("status") for message in plain] == [410, None]
    assert not client.sent


def test_backends_do_not_see_a_client_s_token() -> None:
    assert without_token("v4.channel.k8s.io, " + TOKEN.decode() + ", x") == "v4.channel.k8s.io, x"
