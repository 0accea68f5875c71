"""`Client` over HTTP(S): keep-alive connections, TLS identity, Kubernetes' errors, and watch streams.

Follows client-go where a user notices: 429 (and 5xx that carry Retry-After) are waited for and repeated up to ten times;
there is no client-side rate limit, fairness is the server's. Watches have connections of their own, so they never starve requests.
"""
from __future__ import annotations

import platform
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import quote, urlencode

import orjson

from kubepy import KUBERNETES_VERSION, __version__
from kubepy.api.errors import ApiError, Expired, from_status
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.metrics import Counter, Histogram, counter, histogram
from kubepy.client.credentials import Credentials
from kubepy.client.interface import PatchType, Propagation, WatchEvent
from kubepy.client.kubeconfig import Config
from kubepy.client.wire import Answer, Wire

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
_TARGET = re.compile(r"[^ \r\n]*")
_PLAIN = re.compile(r"[A-Za-z0-9.:_-]+")
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class HttpClient:
    """One identity at one server. Create and close it in a running event loop.

    `timeout` is seconds for a whole request (watches end by their own timeout). With `metadata_only`, gets, lists and
    watches ask for PartialObjectMetadata. `token` is asked for the bearer token before each request."""

    def __init__(self, config: Config, *, user_agent: str = "kubepy", timeout: float = 60.0, connections: int = 64,
                 metadata_only: bool = False, token: Callable[[], str] | None = None, clock: Clock | None = None,
                 beside: HttpClient | None = None) -> None:
        """`beside` shares the connections of another client of the same server that differs in its token only."""
        self.config = config
        self._clock = clock or SystemClock()
        self._credentials = Credentials(config, self._clock, token)
        self._metadata_only = metadata_only
        self._timeout = timeout
        self._shares = beside is not None
        self._wire: Wire = beside._wire if beside is not None else Wire(config.server, self._credentials.context, limit=connections,
                                                                  server_name=config.server_name or "")
        lines = {
            "Accept-Encoding": "identity",  # compressing costs a near server more than the bytes cost the wire
            "User-Agent": f"{user_agent}/{KUBERNETES_VERSION} (linux/{platform.machine()}) kubepy/{__version__}",
        }
        if config.impersonate:
            lines["Impersonate-User"] = config.impersonate
        self._lines = _lines(lines)
        self._heads: dict[tuple[str, str, str], str] = {}
        self._counted: dict[tuple[int, str], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    async def get(self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object:
        path = resource.path(namespace, _name(name), subresource)
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
        path = resource.path(namespace, _name(name) if name else None, subresource)
        return _object(await self._send("POST", path, "dryRun=All" if dry_run else "", orjson.dumps(obj)))

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), _name(metadata["name"]), subresource)
        return _object(await self._send("PUT", path, body=orjson.dumps(obj)))

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        path = resource.path(namespace, _name(name), subresource)
        query = _query(fieldManager=field_manager, force="true" if force else "") if field_manager or force else ""
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
        return _object(await self._send("DELETE", resource.path(namespace, _name(name)), body=orjson.dumps(options)))

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
        silence = timeout_seconds + 60 if timeout_seconds else None
        try:
            if self._credentials.plugin is not None:
                await self._credentials.plugin.ready()
            async with self._wire.stream("GET", f"{path}?{query}", self._head(self._accept(_METADATA)), silence) as (status, body):
                self._count(status, "GET")
                if status != 200:
                    if status == 401:
                        self._credentials.forget_token()
                    found = b""
                    while parts := await body.read():
                        found += b"".join(parts)
                    raise _error(status, found)
                frames = _Frames()
                while parts := await body.read():
                    for part in parts:
                        for frame in frames.feed(part):
                            event = orjson.loads(frame)
                            if event["type"] == "ERROR":
                                raise from_status(event["object"], event["object"].get("code") or 500)
                            yield WatchEvent(event["type"], event["object"])
        except ConnectionError as error:
            raise ConnectionError(f"{path}: {error}") from error

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        extra = {key.lower(): value for key, value in (headers or {}).items()}
        content_type = extra.pop("content-type", "application/json")
        return await self._send(method, path, "", body, content_type=content_type, accept=extra.pop("accept", ""), headers=extra)

    async def close(self) -> None:
        if not self._shares:
            await self._wire.close()

    def _accept(self, metadata: str) -> str:
        return metadata if self._metadata_only else ""

    def _head(self, accept: str, content_type: str = "") -> str:
        authorization = self._credentials.authorization()
        key = (accept, content_type, authorization)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= 16:  # tokens come and go
                self._heads.clear()
            lines = {"Accept": accept or "application/json", "Content-Type": content_type, "Authorization": authorization}
            head = self._heads[key] = _lines({name: value for name, value in lines.items() if value}) + self._lines
        return head

    async def _send(self, method: str, path: str, query: str = "", body: bytes | None = None, *, content_type: str = "application/json",
                    accept: str = "", headers: dict[str, str] | None = None) -> bytes:
        """Sends and reads; repeats what the server asks to repeat. Raises ApiError or ConnectionError."""
        attempt = 0
        target = f"{path}?{query}" if query else path
        if not _TARGET.fullmatch(target):
            raise ValueError(f"not a path: {target!r}")
        while True:
            if self._credentials.plugin is not None:
                await self._credentials.plugin.ready()
            head = self._head(accept, content_type if body is not None else "")
            if headers:
                head += _lines(headers)
            began = self._clock.monotonic()
            try:
                answer = await self._wire.request(method, target, head, body, self._timeout)
            except ConnectionError as error:
                REQUESTS.labels("<error>", method, self._wire.host).inc()
                raise ConnectionError(f"{path}: {error}") from error
            self._count(answer.status, method, self._clock.monotonic() - began)
            if answer.status < 300:
                return answer.content
            wait = _retry_after(answer)
            if wait is None or attempt >= MAX_RETRIES:
                if answer.status == 401:
                    self._credentials.forget_token()
                raise _error(answer.status, answer.content)
            attempt += 1
            await self._clock.sleep(wait)

    def _count(self, status: int, method: str, seconds: float | None = None) -> None:
        counted = self._counted.get((status, method))
        if counted is None:
            counted = self._counted[status, method] = REQUESTS.labels(str(status), method, self._wire.host)
        counted.inc()
        if seconds is not None:
            timed = self._timed.get(method)
            if timed is None:
                timed = self._timed[method] = DURATION.labels(method, self._wire.host)
            timed.observe(seconds)


def _lines(headers: dict[str, str]) -> str:
    """Header lines; raises ValueError for what would break out of its line."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    if any("\r" in line[:-2] or "\n" in line[:-2] for line in lines):
        raise ValueError("a header holds a line break")
    return "".join(lines)


class _Frames:
    """Lines of any length up to MAX_FRAME; each byte is looked at once, however many chunks a frame comes in."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk ends, without empty ones."""
        *lines, rest = chunk.split(b"\n")
        if lines and self._begun:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun, self._size = [], 0
        if rest:
            self._begun.append(rest)
            self._size += len(rest)
            if self._size > MAX_FRAME:
                raise ConnectionError(f"a watch frame exceeds {MAX_FRAME} bytes")
        return [line for line in lines if line] if b"" in lines else lines


def _object(content: bytes) -> Object:
    return cast(Object, orjson.loads(content))


def _query(**values: Any) -> str:
    given = [(key, value) for key, value in values.items() if value]
    return urlencode(given) if given else ""


def _name(name: str) -> str:
    """As a part of a path."""
    return name if _PLAIN.fullmatch(name) else quote(name, safe=":")


def _retry_after(answer: Answer) -> float | None:
    """How long the server asks to wait, or None where the request is not to be repeated."""
    if answer.status != 429 and answer.status < 500:
        return None
    text = answer.header("retry-after")
    return float(text) if text.isdigit() else None


def _error(code: int, content: bytes) -> ApiError:
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = content[:512].decode(errors="replace").strip()
        status = {"message": text} if text else {}
    error = from_status(status, code)
    return Expired(error.message, error.details) if error.code == 410 and not isinstance(error, Expired) else error
