"""Who sends the request, and as whom it acts."""
from __future__ import annotations

from kubepy.api.errors import Unauthorized
from kubepy.apiserver.authn.interface import CERTIFICATES
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send


class AuthenticationFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        certificate = scope.get("client_cert")
        scope[CERTIFICATES] = (certificate,) if certificate else ()
        user = await self.server.authenticator.authenticate(scope)
        if user is None:
            raise Unauthorized()
        Exchange.of(scope).user = user
        await self.app(scope, receive, send)


class ImpersonationFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        if any(name.startswith(b"impersonate-") for name in exchange.headers):
            exchange.user = await self.server.impersonator.impersonate(scope, exchange.user, exchange.info)
        await self.app(scope, receive, send)
