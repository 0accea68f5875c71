"""Answers as WebSocket messages, for clients that ask for them (browsers): a pod's log, and watches.

A log's bytes come as they are (`binary.k8s.io`, or no subprotocol) or in base64 text (`base64.binary.k8s.io`), after an empty message
which says that the connection stands. Each event of a watch is a message: text for JSON, binary for protobuf.
"""
from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable

from kubepy.api.errors import Forbidden
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.stream.handshake import offered, take_over, websocket_key
from kubepy.base.http.cycle import Message
from kubepy.base.http.websocket import BINARY, TEXT, WebSocket, WebSocketError, accept

_BASE64 = "base64.binary.k8s.io"
_LOG_PROTOCOLS = ("", "binary.k8s.io", _BASE64)


def asked_for(exchange: Exchange) -> bool:
    return bool(exchange.scope.get("upgrade")) and exchange.header(b"upgrade").lower() == "websocket"


async def log_messages(exchange: Exchange, serve: Callable[[], Awaitable[None]]) -> None:
    """Runs `serve`; what it answers goes out as a log's messages. An error before that is an answer of HTTP."""
    words = offered(exchange)
    protocol = next((word for word in words if word in _LOG_PROTOCOLS), None) if words else ""
    if protocol is None:
        raise Forbidden(f"requested protocol(s) are not supported: [{' '.join(words)}]; supports [ {' '.join(_LOG_PROTOCOLS[1:])}]")
    await _run(_Messages(exchange, protocol, is_watch=False), serve)


async def watch_messages(exchange: Exchange, serve: Callable[[], Awaitable[None]]) -> None:
    """Runs `serve`, a watch; each of its events goes out as a message."""
    await _run(_Messages(exchange, (offered(exchange) or [""])[0], is_watch=True), serve)


class _Messages:
    """Stands in for the exchange's `send`: the connection becomes a WebSocket when a successful answer starts."""

    def __init__(self, exchange: Exchange, protocol: str, *, is_watch: bool) -> None:
        self._exchange, self._protocol, self._watch = exchange, protocol, is_watch
        self._key = websocket_key(exchange)
        self._plain = exchange.send
        self._opened: asyncio.Future[WebSocket | None] = asyncio.get_running_loop().create_future()
        self._framed = False
        self._close: Callable[[], None] = lambda: None
        exchange.send = self._send
        exchange.scope["extensions"]["push"] = lambda _: False

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif (socket := self._opened.result()) is None:
            await self._plain(message)
        else:
            for kind, data in self._messages(message.get("body", b"")):
                await socket.send(data, kind)
            if not message.get("more_body", False):
                await socket.close()

    async def _start(self, message: Message) -> None:
        if message["status"] != 200:
            self._opened.set_result(None)
            await self._plain(message)
            return
        self._framed = any(name.lower() == b"content-type" and b"protobuf" in value for name, value in message["headers"])
        client = take_over(self._exchange)
        self._close = client.close
        socket = WebSocket(client.read, client.write)
        await client.write(accept(self._key, self._protocol))
        if not self._watch:
            await socket.send(b"", TEXT if self._protocol == _BASE64 else BINARY)
        self._opened.set_result(socket)

    def _messages(self, data: bytes) -> Iterable[tuple[int, bytes]]:
        if not data:
            return
        if not self._watch:
            yield (TEXT, base64.b64encode(data)) if self._protocol == _BASE64 else (BINARY, data)
        elif not self._framed:
            for line in data.splitlines(keepends=True):
                yield TEXT, line
        else:
            at = 0
            while at < len(data):
                end = at + 4 + int.from_bytes(data[at:at + 4], "big")
                yield BINARY, data[at + 4:end]
                at = end

    async def until_gone(self) -> None:
        """Ends when the client has closed the WebSocket; what it sends is of no interest."""
        socket = await self._opened
        while socket is not None and await socket.receive() is not None:
            pass
        if socket is None:
            await asyncio.get_running_loop().create_future()  # an answer of HTTP: it ends by itself

    def close(self) -> None:
        self._close()


async def _run(messages: _Messages, serve: Callable[[], Awaitable[None]]) -> None:
    serving, gone = asyncio.ensure_future(serve()), asyncio.ensure_future(messages.until_gone())
    try:
        await asyncio.wait((serving, gone), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    except (ConnectionError, WebSocketError):
        pass  # the client or the kubelet went away: closing says so
    finally:
        for task in (serving, gone):
            task.cancel()
        await asyncio.gather(serving, gone, return_exceptions=True)
        messages.close()
