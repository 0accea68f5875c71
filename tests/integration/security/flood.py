"""Many connections that each send a request as soon as the last is answered, whatever the answer: a client that means no good.

    python -m tests.integration.security.flood PORT TOKEN CONNECTIONS SECONDS PATH     prints the answers by status as JSON
"""
from __future__ import annotations

import asyncio
import collections
import json
import os
import re
import ssl
import sys

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


class Connection(asyncio.Protocol):
    def __init__(self, request: bytes, counts: collections.Counter[str]) -> None:
        self._request, self._counts = request, counts
        self._left = -1
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._buffer += data
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._counts[head[9:12].decode()] += 1
            length = _LENGTH.search(head)
            if length is None:
                self._transport.close()
                return
            self._left, data, self._buffer = int(length[1]), rest, b""
        self._left -= len(data)
        if self._left <= 0:
            self._left = -1
            self._transport.write(self._request)  # type: ignore[attr-defined]

    def connection_lost(self, error: Exception | None) -> None:
        self._counts["lost"] += 1


async def main(port: int, token: str, connections: int, seconds: float, path: str) -> None:
    counts: collections.Counter[str] = collections.Counter()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = f"GET {path} HTTP/1.1\r\nHost: flood\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    for start in range(0, connections, 32):
        await asyncio.gather(*(loop.create_connection(lambda: Connection(request, counts), "127.0.0.1", port, ssl=context)
                               for _ in range(min(32, connections - start))), return_exceptions=True)
    counts.clear()
    print("flooding", flush=True)
    await asyncio.sleep(seconds)
    print(json.dumps({**counts, "per second": sum(counts.values()) / seconds}), flush=True)
    os._exit(0)  # closing so many connections well would take its time


if __name__ == "__main__":
    _, port_, token_, connections_, seconds_, path_ = sys.argv
    uvloop.run(main(int(port_), token_, int(connections_), float(seconds_), path_))
