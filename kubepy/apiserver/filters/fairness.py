"""Priority and fairness: a request runs when its priority level has seats for it. Watches hold theirs until they have begun.

With `--enable-priority-and-fairness=false` the plain limits of `limit.py` hold instead.
"""
from __future__ import annotations

from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.fairness.controller import Controller
from kubepy.apiserver.filters.limit import LimitFilter
from kubepy.apiserver.filters.time import is_long_running
from kubepy.apiserver.request import RequestInfo
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send

MAX_LIST_SEATS = 10
OBJECTS_A_SEAT = 100


class FairnessFilter:
    def __init__(self, server: Server, app: App) -> None:
        self._app = app
        self._server = server
        self._plain = None if server.options.enable_priority_and_fairness else LimitFilter(server, app)
        self._controller: Controller | None = None

    def start(self) -> Controller:
        self._controller = Controller(self._server)
        self._controller.start()
        return self._controller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._plain is not None:
            await self._plain(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        info = exchange.info
        if is_long_running(exchange) and info.verb != "watch":
            await self._app(scope, receive, send)
            return
        controller = self._controller or self.start()
        level, schema, flow = controller.find(exchange.user, info)
        exchange.flow = (schema.uid, level.uid)
        if level.exempt:
            await self._app(scope, receive, send)
            return
        clock = self._server.clock
        seats = min(self._seats(exchange, info), max(1, level.nominal))
        request = await controller.levels.enter(level, schema.name, flow, seats)
        began = clock.monotonic()
        if info.verb == "watch":  # only its start is work
            controller.levels.leave(level, request, 0.0)
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            controller.levels.leave(level, request, clock.monotonic() - began)

    def _seats(self, exchange: Exchange, info: RequestInfo) -> int:
        """How wide a request is: lists by how many objects they may read."""
        if info.verb != "list" or not info.is_resource:
            return 1
        count = self._server.count(info.group, info.version, info.resource)
        limit = exchange.query.get("limit", ["0"])[0]
        if limit.isdigit() and int(limit) and not exchange.query.get("continue"):
            count = min(count, int(limit))
        return max(1, min(MAX_LIST_SEATS, -(-count // OBJECTS_A_SEAT)))
