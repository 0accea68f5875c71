"""How a connection ends when its server stops, or its client goes."""
from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from kubepy.base.http import protocol
from kubepy.base.http.protocol import HttpProtocol


class Transport(asyncio.Transport):
    """A client that never answers TLS' good-bye; `unsent` bytes wait for it."""

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent
        self.said: list[str] = []
        self.aborted = asyncio.Event()

    def write(self, data: Any) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.said.append("close")

    def abort(self) -> None:
        self.said.append("abort")
        self.aborted.set()


@pytest.mark.parametrize(("unsent", "said"), [
    pytest.param(0, ["close", "abort"], id="a silent client is cut off after a moment"),
    pytest.param(9, ["close"], id="bytes under way are not lost"),
])
def test_a_stopping_server_does_not_wait_for_silent_clients(unsent: int, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "GOODBYE_SECONDS", 0.001)

    async def go() -> list[str]:
        connection = HttpProtocol(SimpleNamespace(loaded_app=None), SimpleNamespace(connections=set()), {})
        transport = Transport(unsent)
        connection.connection_made(transport)
        connection.shutdown()
        async with asyncio.timeout(10):
            if not unsent:
                await transport.aborted.wait()
        await asyncio.sleep(0.005)
        connection.connection_lost(None)
        return transport.said

    assert asyncio.run(go()) == said


@pytest.mark.parametrize("answers", [pytest.param(True, id="idle"), pytest.param(False, id="in the middle of an answer")])
def test_a_connection_that_is_over_leaves_nothing_for_the_collector_of_cycles(answers: bool) -> None:
    """It holds TLS buffers and what was not sent: megabytes, until a collection that comes seldom."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not answers:
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def go() -> bool:
        tasks: set[asyncio.Task[None]] = set()
        connection = HttpProtocol(SimpleNamespace(loaded_app=app), SimpleNamespace(connections=set(), tasks=tasks, total_requests=0), {})
        transport = Transport(0)
        gone = weakref.ref(transport)
        connection.connection_made(transport)
        connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.01)
        connection.connection_lost(None)
        del connection, transport
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        return gone() is None

    gc.disable()
    try:
        assert asyncio.run(go())
    finally:
        gc.enable()
