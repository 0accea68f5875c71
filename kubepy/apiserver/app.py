"""The shell: FastAPI serves what is no resource (health, version, metrics, OpenAPI); everything passes the filters first."""
from __future__ import annotations

import platform
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from kubepy.api.errors import ApiError, MethodNotAllowed, NotAcceptable
from kubepy.apiserver import media, metric
from kubepy.apiserver.dispatch import Dispatcher, not_found
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.filters import wrap
from kubepy.apiserver.health import Health
from kubepy.apiserver.server import Server
from kubepy.base.http.cycle import App, Receive, Scope, Send

VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.0", "gitCommit": "", "gitTreeState": "clean", "buildDate": "2026-04-22T00:00:00Z",
    "goVersion": f"python{platform.python_version()}", "compiler": "cpython", "platform": "linux/amd64",
}


def create_app(server: Server) -> App:
    """The whole application: filters, dispatcher, shell."""
    return wrap(server, Dispatcher(server, create_shell(server)))


def create_shell(server: Server) -> App:
    shell = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    health = Health(server)

    @shell.get("/healthz")
    @shell.get("/livez")
    @shell.get("/readyz")
    async def check(request: Request) -> Response:
        return await health.answer(request.url.path.strip("/"), request.query_params)

    @shell.get("/healthz/{name:path}")
    @shell.get("/livez/{name:path}")
    @shell.get("/readyz/{name:path}")
    async def one(request: Request, name: str) -> Response:
        return await health.one(request.url.path.strip("/").partition("/")[0], name)

    @shell.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(metric.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Shell(shell, server.services.documents)


class Shell:
    """Between the dispatcher and FastAPI: version and what Kubernetes answers for paths that are not there."""

    def __init__(self, app: FastAPI, documents: Mapping[str, tuple[bytes, bytes]]) -> None:
        self.app = app
        self.documents = documents
        self.known = ("/healthz", "/livez", "/readyz", "/metrics")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        path = str(scope["path"])
        if path.rstrip("/") == "/version" or path.startswith("/version/"):
            await self._version(exchange, path)
            return
        if exchange.method == "GET" and (document := self.documents.get(path.rstrip("/"))) is not None:
            content_type, body = document
            await exchange.answer(200, body, content_type, [(b"Cache-Control", b"public, max-age=3600")])
            return
        if not path.startswith(self.known):
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

        await self.app(scope, receive, with_headers)  # type: ignore[arg-type]

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
