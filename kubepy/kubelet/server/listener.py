"""Listens for HTTPS with the connection protocol that can hand over upgraded connections, without a web server around it."""
from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from kubepy.base.http.cycle import App
from kubepy.base.http.protocol import HttpProtocol


@dataclass(slots=True)
class _State:
    """What the protocol keeps count in (uvicorn's ServerState)."""

    connections: set[Any] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    total_requests: int = 0


@dataclass(slots=True)
class _Config:
    loaded_app: App


class Listener:
    """One address. `start` returns the port."""

    def __init__(self, app: App) -> None:
        self._config = _Config(app)
        self._state = _State()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HttpProtocol(self._config, self._state, {}, loop), host or None, port, ssl=context)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.transport.close()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
