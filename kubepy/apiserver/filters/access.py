"""Asks the authorizer, and words its refusal."""
from __future__ import annotations

from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.message import forbidden
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send


class AuthorizationFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.authorizer = server.authorizer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        access = Access.of(exchange.user, exchange.info)
        decision = await self.authorizer.authorize(access)
        exchange.annotations["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
        exchange.annotations["authorization.k8s.io/reason"] = decision.reason
        if not decision.allowed:
            await Exchange.of(scope).answer_error(forbidden(access, decision.reason), [(b"X-Content-Type-Options", b"nosniff")])
            return
        await self.app(scope, receive, send)
