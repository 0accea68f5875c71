"""One HTTP request being served: what the filters found out about it, and how its answer is sent.

It travels in the ASGI scope (`Exchange.of(scope)`), so filters stay plain ASGI callables.
"""
from __future__ import annotations

import asyncio
import zlib
from typing import Any

import orjson
import yaml

from kubepy.api.codec import escape
from kubepy.api.errors import ApiError, NotAcceptable, RequestEntityTooLarge
from kubepy.api.protobuf import Unencodable, encode_body
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.authn.interface import WARNINGS
from kubepy.apiserver.info import Query, parse_query
from kubepy.apiserver.request import RequestInfo, User
from kubepy.base.http.cycle import Receive, Scope, Send
from kubepy.base.uid import random_uid

MAX_BODY = 3 << 20
"""Bytes a request body may have (upstream's MaxRequestBodyBytes)."""
GZIP_FROM = 128 << 10
"""Answers of this many bytes are compressed for clients that accept it."""
_KEY = "kubepy.exchange"
_JSON = b"application/json"
Headers = list[tuple[bytes, bytes]]


class Exchange:
    __slots__ = (
        "annotations", "audit_id", "flow", "go_away", "headers", "info", "query",
        "receive", "scope", "send", "started", "status", "user", "warnings")

    info: RequestInfo
    user: User

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.started = False
        self.status = 0
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # of repeated ones the first
        self.headers = headers
        self.query: Query = parse_query(scope["query_string"])
        self.audit_id = headers.get(b"audit-id") or random_uid().encode()
        self.flow: tuple[bytes, bytes] | None = None
        """The UIDs of the flow schema and the priority level it was served under."""
        self.annotations: dict[str, str] = {}
        """For the audit event."""
        self.go_away = False
        """Ends the connection after the answer, so that the client's next one may reach another server."""
        self.warnings: list[str] = []
        scope[_KEY] = self
        scope[WARNINGS] = self.warnings

    @staticmethod
    def of(scope: Scope) -> Exchange:
        found: Exchange = scope[_KEY]
        return found

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def user_agent(self) -> str:
        return self.header(b"user-agent")

    @property
    def pretty(self) -> bool:
        values = self.query.get("pretty")
        return media.is_pretty(values[0] if values else "", self.user_agent)

    async def body(self) -> bytes:
        """The whole body; raises RequestEntityTooLarge."""
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 19 or int(declared) > MAX_BODY):
            raise self._too_large()
        chunks, size = [], 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client has gone")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > MAX_BODY:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @staticmethod
    def _too_large() -> RequestEntityTooLarge:
        return RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY}")

    def response_headers(self, content_type: bytes = _JSON, extra: Headers | None = None) -> Headers:
        headers = [(b"Audit-Id", self.audit_id), (b"Cache-Control", b"no-cache, private"), (b"Content-Type", content_type)]
        if self.go_away:
            headers.append((b"Connection", b"close"))
        if self.flow is not None:
            headers += [(b"X-Kubernetes-Pf-Flowschema-Uid", self.flow[0]), (b"X-Kubernetes-Pf-Prioritylevel-Uid", self.flow[1])]
        if extra:
            names = {name.lower() for name, _ in extra}
            headers = [pair for pair in headers if pair[0].lower() not in names] + extra
        if self.warnings:
            headers += [(b"Warning", warning_value(text)) for text in dict.fromkeys(self.warnings)]
        return headers

    async def answer(self, status: int, body: bytes, content_type: bytes = _JSON, extra: Headers | None = None) -> None:
        """Sends a complete answer."""
        if len(body) >= GZIP_FROM and b"gzip" in self.headers.get(b"accept-encoding", b""):
            body = await asyncio.to_thread(_gzip, body)
            extra = [*(extra or ()), (b"Content-Encoding", b"gzip")]
        self.started = True
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": self.response_headers(content_type, extra)})
        await self.send({"type": "http.response.body", "body": body})

    async def start_stream(self, content_type: bytes = _JSON, extra: Headers | None = None) -> None:
        """Begins an answer in chunks; the headers go out at once."""
        self.started = True
        self.status = 200
        await self.send({"type": "http.response.start", "status": 200, "headers": self.response_headers(content_type, extra)})
        await self.send({"type": "http.response.body", "body": b"", "more_body": True})

    async def chunk(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self) -> None:
        await self.send({"type": "http.response.body", "body": b""})

    async def answer_object(self, status: int, obj: Object, chosen: media.Media | None = None, extra: Headers | None = None) -> None:
        """Sends a decoded object in the representation that was negotiated (by default: as plain JSON or YAML)."""
        if chosen is None:
            chosen = media.negotiate(self.header(b"accept"), transforms=False)
        await self.answer(status, *render(obj, chosen.type, chosen.pretty or self.pretty), extra)

    async def answer_error(self, error: ApiError, extra: Headers | None = None) -> None:
        """Sends an error as a Status in what the client accepts, JSON where it accepts nothing we have."""
        try:
            chosen = media.negotiate(self.header(b"accept"))
        except NotAcceptable:
            chosen = media.PLAIN
        extra = list(extra or ())
        if error.retry_after is not None:
            extra.append((b"Retry-After", str(error.retry_after).encode()))
        pretty = chosen.pretty or self.pretty
        await self.answer(error.code, *render(error.status(), chosen.type, pretty), extra)

    async def answer_text(self, status: int, text: str, extra: Headers | None = None) -> None:
        await self.answer(status, text.encode(), b"text/plain; charset=utf-8",
                          [(b"X-Content-Type-Options", b"nosniff"), *(extra or ())])


def render(obj: Any, kind: str, pretty: bool = False) -> tuple[bytes, bytes]:
    """An object as it goes over the wire, and the media type that it got: JSON where it has no protobuf form."""
    if kind == media.PROTOBUF:
        try:
            return encode_body(obj), kind.encode()
        except Unencodable:
            kind = media.JSON
    return encode(obj, kind, pretty), kind.encode()


def encode(obj: Any, kind: str = media.JSON, pretty: bool = False) -> bytes:
    """An object as JSON or YAML."""
    if kind == media.YAML:
        return to_yaml(obj)
    if pretty:
        return escape(orjson.dumps(obj, option=orjson.OPT_INDENT_2))
    return escape(orjson.dumps(obj, option=orjson.OPT_APPEND_NEWLINE))


class _Dumper(yaml.CSafeDumper):
    pass


_AMBIGUOUS = frozenset(("y", "Y", "n", "N", "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"))


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value and all(char.isprintable() or char == "\n" for char in value) else None
    if value in _AMBIGUOUS:
        style = '"'
    resolve: Any = dumper.resolve
    if style is None and resolve(yaml.ScalarNode, value, (True, False)) != "tag:yaml.org,2002:str":
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(obj: Any) -> bytes:
    """YAML with sorted keys, as sigs.k8s.io/yaml writes it."""
    text = yaml.dump(obj, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=80)
    return str(text).encode()


def warning_value(text: str) -> bytes:
    """A Warning header's value (RFC 7234): control characters are dropped, quotes and backslashes escaped."""
    clean = "".join(char for char in text if char.isprintable())
    return ('299 - "' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"').encode()


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()
