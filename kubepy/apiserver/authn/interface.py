"""What the request pipeline sees of authentication.

The certificates that the connection's client sent are expected in the ASGI scope as `scope[CERTIFICATES]`: DER, leaf first; TLS has
proved that it holds the leaf's key, and nothing more. Warnings for the client are appended to `scope[WARNINGS]`.
"""
from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol

from kubepy.apiserver.request import RequestInfo, User

Scope = MutableMapping[str, Any]

CERTIFICATES = "kubepy.client_certificates"
WARNINGS = "kubepy.warnings"


class Authenticator(Protocol):
    async def authenticate(self, scope: Scope) -> User | None:
        """Who sent the request: a user (maybe system:anonymous), or None when there are no credentials and anonymous requests are
        off. Raises `errors.Unauthorized` for credentials that do not hold."""
        ...


class Reviewed(NamedTuple):
    """The outcome of a token review; `user` is None when the token does not hold, `error` says why."""

    user: User | None
    audiences: Sequence[str] = ()
    error: str = ""


class TokenReviewer(Protocol):
    async def review(self, token: str, audiences: Sequence[str]) -> Reviewed:
        """Checks a bearer token for any of `audiences` (empty: the API server's own)."""
        ...


class Impersonator(Protocol):
    async def impersonate(self, scope: Scope, user: User, info: RequestInfo) -> User:
        """The user to act as: `user` itself without impersonation headers. Raises BadRequest or Forbidden."""
        ...
