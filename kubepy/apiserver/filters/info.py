"""Reads the request: makes its `Exchange` and parses its path."""
from __future__ import annotations

import random

from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.info import parse
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send


class InfoFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.chance = server.options.goaway_chance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        exchange.info = parse(scope["method"], scope["path"], exchange.query)
        if self.chance and random.random() < self.chance:
            exchange.go_away = True
        await self.app(scope, receive, send)
