"""The aggregation layer of one process, put together."""
from __future__ import annotations

from kubepy.apiserver.aggregation.controller import Controller
from kubepy.apiserver.aggregation.dial import Dialer
from kubepy.apiserver.aggregation.proxy import Proxy
from kubepy.apiserver.aggregation.register import Registrar
from kubepy.apiserver.aggregation.table import Remote, Table
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.server import Server


class Aggregation:
    def __init__(self, server: Server) -> None:
        self.table: Table = server.remotes
        dialer = Dialer(server.options, server.services)
        self._proxy = Proxy(dialer)
        self._controller = Controller(server, self.table, dialer)
        self._server = server
        server.stopping += [self._proxy.close, dialer.close]

    def start(self) -> None:
        self._controller.start()
        registrar = Registrar(self._server, self.table)
        self._server.tasks.keep(registrar.run, "aggregation/register", maximum=5.0)
        self._server.extra_hooks["apiservice-registration-controller"] = registrar.start_hook

    async def serve(self, exchange: Exchange) -> bool:
        """Hands a request on; False when the group version is not another server's."""
        remote = self.find(exchange)
        if remote is None:
            return False
        await self._proxy.serve(exchange, remote)
        return True

    def find(self, exchange: Exchange) -> Remote | None:
        remotes = self.table.remotes
        if not remotes:
            return None
        info = exchange.info
        if info.is_resource:
            return remotes.get((info.group, info.version)) if info.group else None
        path = info.path
        if path.startswith("/openapi/v3/apis/"):
            parts = path.removeprefix("/openapi/v3/apis/").split("/")
            found = remotes.get((parts[0], parts[1])) if len(parts) == 2 else None
            return found if found is not None and found.openapi else None
        if not path.startswith("/apis/"):
            return None
        parts = path[6:].rstrip("/").split("/")
        return remotes.get((parts[0], parts[1])) if len(parts) >= 2 else None
