"""Hands requests for remote group versions to the servers that serve them, with the caller's identity in headers.

Source: `kube-aggregator/pkg/apiserver/handler_proxy.go`. The client's own credentials, impersonation and X-Remote-* headers never leave.
"""
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from kubepy.api.errors import ApiError
from kubepy.apiserver.aggregation.dial import Dialer
from kubepy.apiserver.aggregation.table import Remote
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.request import User
from kubepy.apiserver.stream.serve import pass_through
from kubepy.apiserver.webhook import Unresolved
from kubepy.apiserver.webhook.tls import BadBundle
from kubepy.base.log import get_logger

if TYPE_CHECKING:
    from kubepy.apiserver.stream.forward import Forwarder

log = get_logger("aggregation")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Proxy:
    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._opened: Forwarder | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def serve(self, exchange: Exchange, remote: Remote) -> None:
        if not remote.available:
            await unavailable(exchange)
            return
        query = exchange.scope["query_string"].decode("latin-1")
        raw = exchange.scope.get("raw_path") or quote(exchange.scope["path"]).encode()
        path = raw.decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")
        try:
            target = await self._dialer.target(remote, path)
        except (Unresolved, BadBundle, OSError) as error:
            log.warning("An extension API server cannot be reached", name=remote.name, err=str(error))
            await unavailable(exchange)
            return
        target = replace(target, headers=tuple(identity(exchange.user)))
        if self._opened is None:
            from kubepy.apiserver.stream.forward import Forwarder  # its HTTP client takes a while to load

            self._opened = Forwarder()
        try:
            if exchange.scope.get("upgrade"):
                await pass_through(exchange, target)
            else:
                await self._opened.forward(exchange, target)
        except ApiError as error:
            if exchange.started:
                raise
            await exchange.answer_text(503, f"{error.message}\n")


async def unavailable(exchange: Exchange) -> None:
    await exchange.answer_text(503, "service unavailable\n")


def identity(user: User) -> list[tuple[str, str]]:
    """X-Remote-* headers; what cannot stand in a header's name is escaped as upstream does."""
    headers = [("X-Remote-User", _value(user.name))]
    if user.uid:
        headers.append(("X-Remote-Uid", _value(user.uid)))
    headers += [("X-Remote-Group", _value(group)) for group in user.groups]
    for key, values in user.extra.items():
        name = "".join(char if char in _TOKEN and char != "%" else quote(char, safe="") for char in key)
        headers += [(f"X-Remote-Extra-{name}", _value(value)) for value in values]
    return headers


def _value(text: str) -> str:
    """Header values are bytes on the wire; line breaks would start another header."""
    return text.replace("\r", " ").replace("\n", " ").encode().decode("latin-1")
