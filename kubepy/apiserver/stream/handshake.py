"""A client's upgrade: its headers, and the connection taken out of HTTP."""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api.errors import BadRequest
from kubepy.apiserver.authn.token import WEBSOCKET_PREFIX
from kubepy.apiserver.exchange import Exchange
from kubepy.base.http.raw import RawConnection

_PROTOCOL = b"sec-websocket-protocol"


def offered(exchange: Exchange) -> list[str]:
    """The WebSocket subprotocols that the client offers; a credential among them is none."""
    return [word for word in _words(exchange.header(_PROTOCOL)) if word]


def without_token(value: str) -> str:
    """A Sec-WebSocket-Protocol header without the client's credential, as a backend may see it."""
    return ", ".join(_words(value))


def websocket_key(exchange: Exchange) -> str:
    key = exchange.header(b"sec-websocket-key")
    if not key or exchange.header(b"sec-websocket-version") != "13":
        raise BadRequest("invalid WebSocket handshake: Sec-WebSocket-Key and Sec-WebSocket-Version 13 are required")
    return key


def take_over(exchange: Exchange) -> RawConnection:
    hijack: Callable[[], RawConnection] = exchange.scope["extensions"]["hijack"]
    exchange.started = True
    exchange.status = 101
    return hijack()


def _words(value: str) -> list[str]:
    prefix = WEBSOCKET_PREFIX.decode()
    return [word for item in value.split(",") if not (word := item.strip()).startswith(prefix)]
