"""`Client` over HTTP(S): keep-alive connections, TLS identity, Kubernetes' errors, and watch streams.

Follows client-go where a user notices: 429 (and 5xx that carry Retry-After) are waited for and repeated up to ten times;
there is no client-side rate limit, fairness is the server's. Watches have connections of their own, so they never starve requests.
"""
from __future__ import annotations

import platform
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from kubepy import KUBERNETES_VERSION, __version__
from kubepy.api.errors import ApiError, Expired, from_status
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.metrics import counter, histogram
from kubepy.client.credentials import Credentials
from kubepy.client.interface import PatchType, Propagation, WatchEvent
from kubepy.client.kubeconfig import Config

REQUESTS = counter("rest_client_requests_total", "Number of HTTP requests, partitioned by status code, method, and host.",
                   ("code", "method", "host"))
DURATION = histogram("rest_client_request_duration_seconds", "Request latency in seconds. Broken down by verb, and host.",
                     ("verb", "host"), (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0))

MAX_RETRIES = 10
MAX_FRAME = 64 << 20
"""Bytes; a watch frame that is longer ends the watch."""
_PATCH_TYPES: dict[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class HttpClient:
    """One identity at one server. Create and close it in a running event loop.

    `timeout` is seconds for a whole request (watches end by their own timeout). With `metadata_only`, gets, lists and
    watches ask for PartialObjectMetadata. `token` is asked for the bearer token before each request."""

    def __init__(self, config: Config, *, user_agent: str = "kubepy", timeout: float = 60.0, connections: int = 64,
                 metadata_only: bool = False, token: Callable[[], str] | None = None, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or SystemClock()
        self._credentials = Credentials(config, self._clock, token)
        self._base = config.server
        self._tls = config.server.startswith("https:")
        self._host = URL(config.server).authority
        self._metadata_only = metadata_only
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._connections = connections
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # compressing costs a near server more than the bytes cost the wire
            "User-Agent": f"{user_agent}/{KUBERNETES_VERSION} (linux/{platform.machine()}) kubepy/{__version__}",
        }
        if config.impersonate:
            self._headers["Impersonate-User"] = config.impersonate
        self._requests: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None

    async def get(self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object:
        path = resource.path(namespace, quote(name, safe=":"), subresource)
        return _object(await self._send("GET", path, accept=self._accept(_METADATA)))

    async def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "",
                   resource_version: str | None = None, limit: int = 0, continue_token: str = "") -> Object:
        query = _query(labelSelector=label_selector, fieldSelector=field_selector, resourceVersion=resource_version,
                       limit=limit, **{"continue": continue_token})
        found = _object(await self._send("GET", resource.path(namespace), query, accept=self._accept(_METADATA_LIST)))
        items = found.get("items")
        if items is None:
            items = found["items"] = []
        for item in items:  # lists leave out what all items share
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return found

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        namespace = namespace or (obj.get("metadata") or {}).get("namespace")
        path = resource.path(namespace, quote(name, safe=":") if name else None, subresource)
        return _object(await self._send("POST", path, _query(dryRun="All" if dry_run else ""), orjson.dumps(obj)))

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), quote(metadata["name"], safe=":"), subresource)
        return _object(await self._send("PUT", path, body=orjson.dumps(obj)))

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        path = resource.path(namespace, quote(name, safe=":"), subresource)
        query = _query(fieldManager=field_manager, force="true" if force else "")
        return _object(await self._send("PATCH", path, query, orjson.dumps(patch), content_type=_PATCH_TYPES[type]))

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None,
                     propagation: Propagation | None = None, uid: str | None = None, resource_version: str | None = None) -> Object:
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if uid or resource_version:
            options["preconditions"] = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        return _object(await self._send("DELETE", resource.path(namespace, quote(name, safe=":")), body=orjson.dumps(options)))

    async def delete_collection(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "",
                                field_selector: str = "", propagation: Propagation | None = None) -> None:
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if propagation is not None:
            options["propagationPolicy"] = propagation
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        await self._send("DELETE", resource.path(namespace), query, orjson.dumps(options))

    async def watch(self, resource: Resource, namespace: str | None = None, *, resource_version: str = "", label_selector: str = "",
                    field_selector: str = "", bookmarks: bool = True, send_initial_events: bool = False,
                    timeout_seconds: int | None = None) -> AsyncIterator[WatchEvent]:
        query = _query(watch="true", labelSelector=label_selector, fieldSelector=field_selector, resourceVersion=resource_version,
                       allowWatchBookmarks="true" if bookmarks else "", timeoutSeconds=timeout_seconds,
                       sendInitialEvents="true" if send_initial_events else "",
                       resourceVersionMatch="NotOlderThan" if send_initial_events else "")
        path = resource.path(namespace)
        # the server ends a watch in its own time; the margin only catches one that forgets to
        silence = aiohttp.ClientTimeout(total=timeout_seconds + 60 if timeout_seconds else None, sock_connect=10)
        try:
            async with await self._open("GET", path, query, None, self._headers_for(self._accept(_METADATA)), silence,
                                        watch=True) as response:
                if response.status != 200:
                    raise _error(response, await response.read())
                async with aclosing(_frames(response.content)) as frames:
                    async for frame in frames:
                        event = orjson.loads(frame)
                        if event["type"] == "ERROR":
                            raise from_status(event["object"], event["object"].get("code") or 500)
                        yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(error, path) from error

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        extra = {key.lower(): value for key, value in (headers or {}).items()}
        content_type = extra.pop("content-type", "application/json")
        return await self._send(method, path, "", body, content_type=content_type, accept=extra.pop("accept", ""), headers=extra)

    async def close(self) -> None:
        for session in (self._requests, self._watches):
            if session is not None:
                await session.close()

    def _accept(self, metadata: str) -> str:
        return metadata if self._metadata_only else ""

    def _headers_for(self, accept: str, content_type: str = "", extra: dict[str, str] | None = None) -> dict[str, str]:
        headers = dict(self._headers)
        if accept:
            headers["Accept"] = accept
        if content_type:
            headers["Content-Type"] = content_type
        if authorization := self._credentials.authorization():
            headers["Authorization"] = authorization
        if extra:
            headers.update(extra)
        return headers

    async def _send(self, method: str, path: str, query: str = "", body: bytes | None = None, *, content_type: str = "application/json",
                    accept: str = "", headers: dict[str, str] | None = None) -> bytes:
        """Sends and reads; repeats what the server asks to repeat. Raises ApiError or ConnectionError."""
        attempt = 0
        while True:
            try:
                sent = self._headers_for(accept, content_type if body is not None else "", headers)
                async with await self._open(method, path, query, body, sent, self._timeout) as response:
                    content = await response.read()
            except (aiohttp.ClientError, OSError) as error:
                REQUESTS.labels("<error>", method, self._host).inc()
                raise _lost(error, path) from error
            if response.status < 300:
                return content
            wait = _retry_after(response)
            if wait is None or attempt >= MAX_RETRIES:
                if response.status == 401:
                    self._credentials.forget_token()
                raise _error(response, content)
            attempt += 1
            await self._clock.sleep(wait)

    async def _open(self, method: str, path: str, query: str, body: bytes | None, headers: dict[str, str],
                    timeout: aiohttp.ClientTimeout, watch: bool = False) -> aiohttp.ClientResponse:
        began = self._clock.monotonic()
        url = URL(f"{self._base}{path}?{query}" if query else self._base + path, encoded=True)
        response = await self._session(watch).request(
            method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False,
            ssl=self._credentials.context() if self._tls else True, server_hostname=self.config.server_name or None)
        REQUESTS.labels(str(response.status), method, self._host).inc()
        if not watch:
            DURATION.labels(method, self._host).observe(self._clock.monotonic() - began)
        return response

    def _session(self, watch: bool) -> aiohttp.ClientSession:
        found = self._watches if watch else self._requests
        if found is None:
            connector = aiohttp.TCPConnector(limit=0 if watch else self._connections, keepalive_timeout=75, ttl_dns_cache=60,
                                             socket_factory=_socket)
            found = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)
            if watch:
                self._watches = found
            else:
                self._requests = found
        return found


def _socket(address: Any) -> socket.socket:
    """A socket that notices within half a minute when the other side is gone without a word (a pulled cable, a dead node)."""
    family, kind, protocol, _, _ = address
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    found.setblocking(False)
    return found


async def _frames(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of any length up to MAX_FRAME; each byte is looked at once, however many chunks a frame comes in."""
    parts: list[bytes] = []
    size = 0
    async for chunk in stream.iter_any():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            frame = b"".join((*parts, line)) if parts else line
            parts, size = [], 0
            if frame:
                yield frame
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > MAX_FRAME:
                raise ConnectionError(f"a watch frame exceeds {MAX_FRAME} bytes")


def _object(content: bytes) -> Object:
    return cast(Object, orjson.loads(content))


def _query(**values: Any) -> str:
    return urlencode([(key, value) for key, value in values.items() if value])


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """How long the server asks to wait, or None where the request is not to be repeated."""
    if response.status != 429 and response.status < 500:
        return None
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _error(response: aiohttp.ClientResponse, content: bytes) -> ApiError:
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = content[:512].decode(errors="replace").strip()
        status = {"message": text} if text else {}
    error = from_status(status, response.status)
    return Expired(error.message, error.details) if error.code == 410 and not isinstance(error, Expired) else error


def _lost(error: Exception, path: str) -> ConnectionError:
    if isinstance(error, ConnectionError) and not isinstance(error, aiohttp.ClientError):
        return error
    if isinstance(error, TimeoutError):
        return ConnectionError(f"{path}: timed out")
    if isinstance(error, (ssl.SSLError, aiohttp.ClientSSLError)):
        return ConnectionError(f"{path}: TLS: {error}")
    return ConnectionError(f"{path}: {error or type(error).__name__}")
