"""Decides how a client's streaming request reaches the backend, and connects the two."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from kubepy.api.errors import BadRequest, from_status
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.stream.dial import Headers, Target, Upstream, dial
from kubepy.apiserver.stream.handshake import offered, take_over, websocket_key, without_token
from kubepy.apiserver.stream.remote import Remote
from kubepy.base.http.raw import RawConnection
from kubepy.base.http.websocket import WebSocket, WebSocketError, accept

Kind = Literal["exec", "attach", "portforward"]

_REMOTE_V5 = "v5.channel.k8s.io"
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_HOP_BY_HOP = {"host", "connection", "upgrade", "authorization", "content-length", "transfer-encoding", "keep-alive", "te", "trailer",
               "proxy-authorization", "impersonate-user", "impersonate-group", "impersonate-uid"}
_SPDY_UPGRADE: Headers = (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"))


async def serve_stream(exchange: Exchange, target: Target, kind: Kind) -> None:
    """Serves one streaming request to its end. Raises ApiError before anything was sent to the client."""
    if not exchange.scope.get("upgrade"):
        raise BadRequest("Upgrade request required")
    if exchange.header(b"upgrade").lower() == "websocket":
        words = offered(exchange)
        if kind != "portforward" and _REMOTE_V5 in words:
            await _translate(exchange, target)
            return
        if kind == "portforward" and _TUNNEL in words:
            await _tunnel(exchange, target)
            return
    await pass_through(exchange, target)


async def pass_through(exchange: Exchange, target: Target) -> None:
    """Hands an upgraded connection through byte by byte, in whatever protocol both ends agree on."""
    upgrade = exchange.header(b"upgrade")
    headers = (*_forwarded(exchange), ("Connection", "Upgrade"), ("Upgrade", upgrade))
    upstream = await _upgraded(target, exchange.method, headers)
    client = take_over(exchange)
    try:
        await client.write(upstream.head)
        await _splice(client, upstream)
    finally:
        client.close()
        upstream.close()


async def _translate(exchange: Exchange, target: Target) -> None:
    """WebSocket v5 on the client's side, SPDY v4 on the kubelet's (upstream's StreamTranslatorHandler, KEP-4006)."""
    key = websocket_key(exchange)
    upstream = await _upgraded(target, "POST", (*_SPDY_UPGRADE, ("X-Stream-Protocol-Version", "v4.channel.k8s.io")))
    client = take_over(exchange)
    try:
        await client.write(accept(key, _REMOTE_V5))
        flags = {name: exchange.query.get(name, [""])[0] in ("1", "true") for name in ("stdin", "stdout", "stderr", "tty")}
        await Remote(WebSocket(client.read, client.write), upstream, **flags).run()
    finally:
        client.close()
        upstream.close()


async def _tunnel(exchange: Exchange, target: Target) -> None:
    """The client speaks SPDY inside binary WebSocket messages; the backend gets the SPDY bytes as they are."""
    key = websocket_key(exchange)
    upstream = await _upgraded(target, "POST", (*_SPDY_UPGRADE, ("X-Stream-Protocol-Version", "portforward.k8s.io")))
    client = take_over(exchange)
    socket = WebSocket(client.read, client.write)

    async def receive() -> bytes:
        while message := await socket.receive():
            if message.data:
                return message.data
        return b""

    try:
        await client.write(accept(key, _TUNNEL))
        await _both(_copy(receive, upstream.write), _copy(upstream.read, socket.send))
        await socket.close()
    except (ConnectionError, WebSocketError):
        pass  # either end went away: the other is told by closing
    finally:
        client.close()
        upstream.close()


async def _upgraded(target: Target, method: str, headers: Headers) -> Upstream:
    """The backend's stream; what it answers instead of upgrading is raised as the client's error."""
    upstream = await dial(target, method, headers)
    if upstream.status == 101:
        return upstream
    try:
        text = (await upstream.refusal()).decode(errors="replace").strip()
    finally:
        upstream.close()
    status = {"message": text} if text else {}
    raise from_status(status, upstream.status)


def _forwarded(exchange: Exchange) -> Headers:
    """The client's headers without its credentials and what belongs to its own connection."""
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.scope["headers"])
    kept = ((name, without_token(value) if name.lower() == "sec-websocket-protocol" else value) for name, value in pairs
            if name.lower() not in _HOP_BY_HOP and not name.lower().startswith(("impersonate-extra-", "x-remote-")))
    return tuple((name, value) for name, value in kept if value or name.lower() != "sec-websocket-protocol")


async def _splice(client: RawConnection, upstream: Upstream) -> None:
    await _both(_copy(client.read, upstream.write), _copy(upstream.read, client.write))


async def _copy(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
    while data := await read():
        await write(data)


async def _both(*directions: Awaitable[None]) -> None:
    """Runs both directions until one ends: neither protocol uses half-closed connections."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
