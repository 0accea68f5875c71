"""Exec, attach and port-forward: the upgraded connection is joined, byte for byte, to the runtime's streaming server.

The runtime's URL works once. SPDY/3.1 and WebSocket (`v4.channel.k8s.io` and older) pass through as they are, so whatever the
runtime negotiates the client gets.
"""
from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from kubepy.base.http.cycle import Scope
from kubepy.base.http.raw import RawConnection
from kubepy.base.log import get_logger

log = get_logger("stream")
_BLOCK = 64 * 1024
_PASSED = (b"upgrade", b"x-stream-protocol-version", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol",
           b"sec-websocket-extensions", b"origin")


async def join(scope: Scope, url: str, *, query: str = "") -> None:
    """Takes the request's connection over and joins it to the runtime's; returns when either side has ended.

    Raises OSError, before the connection is taken over, when the runtime's server cannot be reached."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    path = target.path + (f"?{query}" if query else f"?{target.query}" if target.query else "")
    head = [f"{scope['method']} {path} HTTP/1.1".encode(), b"host: " + target.netloc.encode(), b"connection: Upgrade"]
    head += [name + b": " + value for name, value in scope["headers"] if name in _PASSED]
    if scope["method"] != "GET":
        head.append(b"content-length: 0")
    client: RawConnection = scope["extensions"]["hijack"]()
    try:
        writer.write(b"\r\n".join(head) + b"\r\n\r\n")
        await writer.drain()
        outward = asyncio.ensure_future(_outward(client, writer))
        inward = asyncio.ensure_future(_inward(reader, client))
        try:
            # The runtime ends the session; a client that has gone ends it too.
            await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in (outward, inward):
                pump.cancel()
            await asyncio.gather(outward, inward, return_exceptions=True)
    except (ConnectionError, OSError) as error:
        log.v(3).info("Stream broke", err=error)
    finally:
        writer.close()
        client.close()


async def _outward(client: RawConnection, writer: asyncio.StreamWriter) -> None:
    while data := await client.read():
        writer.write(data)
        await writer.drain()


async def _inward(reader: asyncio.StreamReader, client: RawConnection) -> None:
    while data := await reader.read(_BLOCK):
        await client.write(data)
