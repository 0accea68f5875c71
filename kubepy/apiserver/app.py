"""The shell: what is no resource (health, version, documents, FastAPI's pages); everything passes the filters first."""
from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from dataclasses import fields

from kubepy.api.errors import ApiError, MethodNotAllowed, NotAcceptable
from kubepy.apiserver import debug, index, media
from kubepy.apiserver.dispatch import Dispatcher, not_found
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.filters import wrap
from kubepy.apiserver.health import Health
from kubepy.apiserver.server import Server
from kubepy.base import metrics, slis, zpage
from kubepy.base.http.cycle import App, Receive, Scope, Send

VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.0", "gitCommit": "", "gitTreeState": "clean", "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": f"python{platform.python_version()}", "compiler": "cpython", "platform": "linux/amd64",
}

NAME = "kube-apiserver"
PAGES = ("/metrics",)
"""Where the paths begin that FastAPI serves."""


def create_app(server: Server) -> App:
    """The whole application: filters, dispatcher, shell."""
    return wrap(server, Dispatcher(server, Shell(server)))


class Shell:
    """Behind the dispatcher: health, version, FastAPI's pages, and what Kubernetes answers for paths that are not there."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.health = Health(server)
        self.documents: Mapping[str, tuple[bytes, bytes]] = server.services.documents
        self.profiling = server.options.profiling
        self._pages: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        path = str(scope["path"])
        if await self.health.serve(exchange):
            return
        if path.rstrip("/") == "/version" or path.startswith("/version/"):
            await self._version(exchange, path)
            return
        if exchange.method == "GET" and (document := self.documents.get(path.rstrip("/"))) is not None:
            content_type, body = document
            await exchange.answer(200, body, content_type, [(b"Cache-Control", b"public, max-age=3600")])
            return
        if path in index.PATHS and exchange.method == "GET":
            await exchange.answer(200, index.render(self.server, self.health.paths()))
            return
        if path == "/metrics/slis" and exchange.method == "GET":
            await exchange.answer(200, slis.render(), metrics.CONTENT_TYPE.encode())
            return
        if path in zpage.PATHS and exchange.method == "GET":
            await self._zpage(exchange, path)
            return
        if path.startswith("/debug/") and await debug.answer(exchange, path, profiling=self.profiling):
            return
        if not path.startswith(PAGES):
            await exchange.answer_text(404, "404 page not found\n")
            return

        async def with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                exchange.started = True
                given = message["headers"]
                assert isinstance(given, list)
                if message["status"] in (404, 405):
                    kept = [(b"content-type", b"text/plain; charset=utf-8")]
                else:
                    kept = [pair for pair in given if pair[0] != b"content-length"]
                content_type = next(value for name, value in kept if name == b"content-type")
                message = {**message, "headers": exchange.response_headers(content_type, [(b"X-Content-Type-Options", b"nosniff")])}
            await send(message)

        if self._pages is None:
            self._pages = await asyncio.to_thread(_load_pages)
        await self._pages(scope, receive, with_headers)  # type: ignore[arg-type]

    async def _zpage(self, exchange: Exchange, path: str) -> None:
        accept = exchange.header(b"accept")
        if path == "/statusz":
            paths = ("/healthz", "/livez", "/metrics", "/readyz", "/version")
            status, kind, body = zpage.statusz(NAME, VERSION["gitVersion"][1:], paths, accept, self.server.clock.now())
        else:
            options = self.server.options
            status, kind, body = zpage.flagz(NAME, {one.name: getattr(options, one.name) for one in fields(options)}, accept)
        await exchange.answer(status, body, kind.encode())

    async def _version(self, exchange: Exchange, path: str) -> None:
        if path.rstrip("/") != "/version":
            raise not_found()
        if exchange.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource", {})
        try:
            chosen = media.negotiate(exchange.header(b"accept"), (media.JSON,), (media.JSON,), transforms=False)
        except NotAcceptable as error:
            raise ApiError(error.message, error.details, code=406, reason="NotAcceptable") from error
        await exchange.answer_object(200, VERSION, chosen)


def _load_pages() -> App:
    from kubepy.apiserver.pages import create_pages

    return create_pages()
