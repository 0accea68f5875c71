"""Asks the authorizer, and words its refusal."""
from __future__ import annotations

from kubepy.api.gofmt import go_quote
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
        if not decision.allowed and decision.error:  # an authorizer failed that might have allowed it
            exchange.annotations["authorization.k8s.io/reason"] = "internal error"
            target = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode("latin-1")
            text = f"Internal Server Error: {go_quote(target)}: {decision.error}\n"
            await exchange.answer_text(500, text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
            return
        exchange.annotations["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
        exchange.annotations["authorization.k8s.io/reason"] = decision.reason
        if not decision.allowed:
            await Exchange.of(scope).answer_error(forbidden(access, decision.reason), [(b"X-Content-Type-Options", b"nosniff")])
            return
        await self.app(scope, receive, send)
