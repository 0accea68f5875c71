"""How a connection ends when its server stops."""
from __future__ import annotations

import asyncio
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
