"""Bounds how many requests run at once: reading and changing ones apart, watches and streams not counted.

What `--enable-priority-and-fairness=false` leaves: no queues, no priorities; only requests of `system:masters` are never refused.
"""
from __future__ import annotations

from kubepy.api.errors import TooManyRequests
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.filters.time import is_long_running
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send

_READING = frozenset(("get", "list", "watch"))


class LimitFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        options = server.options
        workers = max(1, options.workers)
        self.limits = (max(1, options.max_requests_inflight // workers) if options.max_requests_inflight else 0,
                       max(1, options.max_mutating_requests_inflight // workers) if options.max_mutating_requests_inflight else 0)
        self.running = [0, 0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        if is_long_running(exchange):
            await self.app(scope, receive, send)
            return
        lane = 0 if exchange.info.verb in _READING else 1
        limit = self.limits[lane]
        if limit and self.running[lane] >= limit and "system:masters" not in exchange.user.groups:
            raise TooManyRequests("Too many requests, please try again later.")
        self.running[lane] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running[lane] -= 1
