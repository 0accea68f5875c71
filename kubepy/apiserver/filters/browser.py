"""What browsers are told: which origins may call (CORS), and that they must come by HTTPS (`filters.WithCORS`, `filters.WithHSTS`).

Outside authentication, as upstream: a preflight request carries no credentials. Costs nothing unless configured, since it is left out.
"""
from __future__ import annotations

import re

from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Message, Receive, Scope, Send

_ALLOWED = (
    (b"Access-Control-Allow-Methods", b"POST, GET, OPTIONS, PUT, DELETE, PATCH"),
    (b"Access-Control-Allow-Headers",
     b"Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since"),
    (b"Access-Control-Expose-Headers", b"Date"),
    (b"Access-Control-Allow-Credentials", b"true"),
)


class BrowserFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        directives = server.options.strict_transport_security_directives
        self._always = [(b"Strict-Transport-Security", "; ".join(directives).encode())] if directives else []
        self._origins = [re.compile(pattern) for pattern in server.options.cors_allowed_origins]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(self._always)
        origin = next((value for name, value in scope["headers"] if name == b"origin"), b"")
        if origin and any(pattern.search(origin.decode("latin-1")) for pattern in self._origins):
            headers += [(b"Access-Control-Allow-Origin", origin), *_ALLOWED]
            if scope["method"] == "OPTIONS":
                await send({"type": "http.response.start", "status": 204, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await self.app(scope, receive, with_headers if headers else send)
