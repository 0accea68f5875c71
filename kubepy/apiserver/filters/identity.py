"""Who sends the request, and as whom it acts."""
from __future__ import annotations

from kubepy.api.errors import Unauthorized
from kubepy.apiserver.authn.interface import CERTIFICATES
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.request import User
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send

NOBODY = User("")


class AuthenticationFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CERTIFICATES] = scope.get("client_chain") or ()
        try:
            user = await self.server.authenticator.authenticate(scope)
            if user is None:
                raise Unauthorized()
        except Unauthorized as error:
            self._tell(Exchange.of(scope), error)
            raise
        Exchange.of(scope).user = user
        await self.app(scope, receive, send)

    def _tell(self, exchange: Exchange, error: Unauthorized) -> None:
        """Who could not say who they are are audited, too."""
        auditor = self.server.auditor
        record = auditor.begin(exchange, NOBODY) if auditor is not None else None
        if auditor is not None and record is not None:
            record.code, record.status = error.code, error.status()
            auditor.tell(record, "ResponseComplete")


class ImpersonationFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        if b"impersonate-" in b"\n".join(exchange.headers):
            exchange.user = await self.server.impersonator.impersonate(scope, exchange.user, exchange.info)
        await self.app(scope, receive, send)
