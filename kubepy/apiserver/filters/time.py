"""Ends requests that take longer than --request-timeout; watches, logs and streams are left alone."""
from __future__ import annotations

import asyncio

from kubepy.api.errors import BadRequest, Timeout
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.options import duration
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send

LONG_RUNNING_VERBS = frozenset(("watch", "proxy"))
LONG_RUNNING_SUBRESOURCES = frozenset(("attach", "exec", "proxy", "log", "portforward"))


def is_long_running(exchange: Exchange) -> bool:
    info = exchange.info
    return info.verb in LONG_RUNNING_VERBS or (info.is_resource and info.subresource in LONG_RUNNING_SUBRESOURCES) \
        or info.path.startswith("/debug/pprof/")


class TimeoutFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.seconds = server.options.request_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        if is_long_running(exchange):
            await self.app(scope, receive, send)
            return
        seconds = self.seconds
        if asked := exchange.query.get("timeout"):
            try:
                wanted = duration(asked[0])
            except ValueError as error:
                raise BadRequest(f"invalid timeout specified in the request URL - {error}") from error
            seconds = min(seconds, wanted) if wanted > 0 else seconds
        try:
            async with asyncio.timeout(seconds):
                await self.app(scope, receive, send)
        except TimeoutError as error:
            if exchange.started:
                raise
            raise Timeout("Timeout: request did not complete within the allotted timeout", {}) from error
