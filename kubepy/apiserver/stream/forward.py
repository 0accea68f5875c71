"""Plain HTTP through the API server: logs from kubelets, and the `proxy` subresources, streamed both ways."""
from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from kubepy.api.errors import ApiError, ServiceUnavailable, from_status
from kubepy.apiserver.exchange import Exchange, Headers
from kubepy.apiserver.stream.dial import Target
from kubepy.apiserver.stream.html import Links, rewriter
from kubepy.apiserver.transport import failure

_DROPPED = frozenset(("host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade",
                      "authorization", "content-length", "proxy-authorization", "proxy-authenticate", "impersonate-user",
                      "impersonate-group", "impersonate-uid", "sec-websocket-protocol"))
_CHUNK = 64 << 10
_CONNECT_TIMEOUT = 30.0


class Forwarder:
    """Connections to backends, pooled; one for the process."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
                                                  skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"))
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def forward(self, exchange: Exchange, target: Target, *, error_as_status: bool = False, prefix: str = "") -> None:
        """Sends the client's request on and streams the answer back.

        With `error_as_status` a refusal becomes the API's error (logs). `prefix` is the path of a proxy: links and redirects to the
        backend's own paths lead through it, and the backend is told of it."""
        scheme = "https" if target.context else "http"
        url = URL(f"{scheme}://{target.authority}{target.path}", encoded=True)
        body = None if exchange.method in ("GET", "HEAD") else _body(exchange)
        try:
            async with self._open().request(exchange.method, url, headers=_headers(exchange, target, prefix), data=body,
                                            allow_redirects=False, ssl=target.context if target.context else False,
                                            server_hostname=target.server_hostname if target.context else None) as answer:
                if error_as_status and answer.status >= 400:
                    raise await _refusal(answer)
                hosts = frozenset((target.authority, exchange.header(b"host")))
                await _stream(exchange, answer, Links(prefix, hosts) if prefix else None)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if exchange.started:
                raise ConnectionResetError("the backend went away in the middle of its answer") from error
            raise _unreachable(exchange, url, target, error, error_as_status=error_as_status) from error


async def _stream(exchange: Exchange, answer: aiohttp.ClientResponse, links: Links | None) -> None:
    page = rewriter(links, answer.headers.get("Content-Type", ""), answer.headers.get("Content-Encoding", "")) if links else None
    headers: Headers = [(b"Audit-Id", exchange.audit_id)]
    for name, value in answer.headers.items():
        lower = name.lower()
        if lower not in _DROPPED or (lower == "content-length" and page is None):
            shown = links.rewrite(value) if links and lower == "location" else value
            headers.append((name.encode("latin-1"), shown.encode("latin-1")))
    exchange.started, exchange.status = True, answer.status
    await exchange.send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": True})
    async for chunk in answer.content.iter_any():
        if data := page.feed(chunk) if page else chunk:
            await exchange.send({"type": "http.response.body", "body": data, "more_body": True})
    await exchange.send({"type": "http.response.body", "body": page.finish() if page else b""})


async def _body(exchange: Exchange) -> AsyncIterator[bytes]:
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client has gone")
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return


def _headers(exchange: Exchange, target: Target, prefix: str) -> CIMultiDict[str]:
    """The client's headers without its credentials and what belongs to its own connection, and the target's own."""
    headers: CIMultiDict[str] = CIMultiDict()
    for raw_name, value in exchange.scope["headers"]:
        name = raw_name.decode("latin-1")
        if name.lower() not in _DROPPED and not name.lower().startswith(("impersonate-extra-", "x-remote-")):
            headers.add(name, value.decode("latin-1"))
    for name, value in target.headers:
        headers.add(name, value)
    if prefix:
        client = exchange.scope.get("client")
        before = headers.popall("X-Forwarded-For", [])
        headers["X-Forwarded-For"] = ", ".join([*before, *([client[0]] if client else [])])
        headers["X-Forwarded-Uri"] = prefix + target.path.partition("?")[0]
    return headers


async def _refusal(answer: aiohttp.ClientResponse) -> ApiError:
    text = (await answer.content.read(1 << 20)).decode(errors="replace").strip()
    return from_status({"message": text} if text else {}, answer.status)


def _unreachable(exchange: Exchange, url: URL, target: Target, error: Exception, *, error_as_status: bool) -> ApiError:
    why = failure(error, target.authority, target.server_hostname or target.host)
    if error_as_status:
        return ApiError(f'{exchange.method.capitalize()} "{url}": {why}', code=500, reason="")
    return ServiceUnavailable(f"error trying to reach service: {why}")
