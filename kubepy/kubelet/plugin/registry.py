"""Sockets in `<root>/plugins_registry` are asked who they are and handed to whoever deals with their kind (upstream's plugin manager).

Known difference: the directory is looked through every second instead of watched.
"""
from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kubepy.api.errors import ApiError
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.plugin import registration_pb2 as pb
from kubepy.kubelet.rpc import PluginSocket, RpcError

log = get_logger("plugin")
_LOOK, _CALL = 1.0, 10.0


class Handler(Protocol):
    """Deals with one kind of plugin."""

    kind: str

    def ready(self) -> bool:
        """False while plugins cannot be taken yet; they are asked again."""
        ...

    def refuse(self, name: str, versions: Sequence[str]) -> str:
        """Why a plugin cannot be used, "" when it can."""
        ...

    async def add(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """Raises RpcError, ApiError, ConnectionError: it is tried again."""
        ...

    async def added(self, name: str) -> None:
        """The plugin has been told that it is registered."""
        ...

    async def remove(self, name: str) -> None: ...


class Plugins:
    def __init__(self, root: str, clock: Clock, handlers: Sequence[Handler]) -> None:
        self._directory = Path(root, "plugins_registry")
        self._clock = clock
        self._handlers = {handler.kind: handler for handler in handlers}
        self._sockets: dict[str, tuple[int, str, str]] = {}
        """By path: inode, kind and name."""

    async def run(self) -> None:
        os.makedirs(self._directory, exist_ok=True, mode=0o750)
        while True:
            await self.look()
            await self._clock.sleep(_LOOK)

    async def look(self) -> None:
        if not all(handler.ready() for handler in self._handlers.values()):
            return
        present = await asyncio.to_thread(_sockets, self._directory)
        for path, (inode, kind, name) in list(self._sockets.items()):
            if present.get(path) != inode:
                del self._sockets[path]
                if kind in self._handlers:
                    await self._handlers[kind].remove(name)
        for path, inode in present.items():
            if path not in self._sockets:
                try:
                    self._sockets[path] = (inode, *await self._register(path))
                except (RpcError, ApiError, ConnectionError) as error:
                    log.warning("Plugin not registered yet", socket=path, err=error)

    async def _register(self, path: str) -> tuple[str, str]:
        socket = PluginSocket(path)
        try:
            info = await socket.call("/pluginregistration.Registration/GetInfo", pb.InfoRequest(), pb.PluginInfo, _CALL)
            handler, versions = self._handlers.get(info.type), tuple(info.supported_versions)
            problem = f"no handler registered for plugin type: {info.type} at socket {path}" if handler is None \
                else handler.refuse(info.name, versions)
            if problem:
                log.warning("Plugin refused", name=info.name, why=problem)
            elif handler is not None:
                await handler.add(info.name, info.endpoint or path, versions)
            status = pb.RegistrationStatus(plugin_registered=not problem, error=problem)
            await socket.call("/pluginregistration.Registration/NotifyRegistrationStatus", status, pb.RegistrationStatusResponse, _CALL)
            if not problem and handler is not None:
                log.info("Plugin registered", kind=info.type, name=info.name, endpoint=info.endpoint)
                await handler.added(info.name)
            return ("", info.name) if problem else (info.type, info.name)
        finally:
            await socket.close()


def _sockets(directory: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            if stat.S_ISSOCK(status.st_mode) and not name.startswith("."):
                found[path] = status.st_ino
    return found
