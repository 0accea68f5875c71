"""Bearer tokens: how they are found in a request, who checks them, and the cache in front.

Source: `k8s.io/apiserver/pkg/authentication/request/bearertoken`, `…/token/union`, `…/token/cache`.
"""
from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from kubepy.api.errors import Unauthorized
from kubepy.apiserver.authn.interface import WARNINGS, Reviewed, Scope
from kubepy.apiserver.request import User
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger

log = get_logger("authn")

WEBSOCKET_PREFIX = b"base64url.bearer.authorization.k8s.io."
_CACHE_SECONDS = 10.0
_CACHE_SIZE = 4096
_EXTRA_SPACE = "the provided Authorization header contains extra space before the bearer token, and is ignored"


class TokenError(Exception):
    """The token was meant for this authenticator but does not hold; the message is what a TokenReview shows."""


class TokenUser(NamedTuple):
    user: User
    audiences: Sequence[str]
    """Those of the wanted audiences that the token is good for."""


class TokenAuthenticator(Protocol):
    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        """None when the token is of another kind; raises TokenError."""
        ...


def for_own(user: User, audiences: Sequence[str], own: Sequence[str]) -> TokenUser | None:
    """Of a token that knows no audiences: it is good for the API server's own, and for nobody when others alone are asked for."""
    good = [item for item in audiences if item in own]
    return TokenUser(user, good) if good or not audiences else None


class StaticTokens:
    """--token-auth-file: lines of `token,user,uid,"group1,group2"`. Looked up by digest, so timing tells nothing about tokens."""

    def __init__(self, text: str, audiences: Sequence[str]) -> None:
        self._users: dict[bytes, User] = {}
        self._audiences = audiences
        for number, row in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), 1):
            if not row:
                continue
            if len(row) < 3:
                raise ValueError(f"token file line {number} must have at least 3 columns (token, user name, user uid), found {len(row)}")
            token, name, uid = row[0], row[1], row[2]
            if not token:
                log.warning("Empty token has been found in token file", line=number)
                continue
            groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if len(row) > 3 else ()
            self._users[_digest(token)] = User(name, uid, groups)

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        user = self._users.get(_digest(token))
        return for_own(user, audiences, self._audiences) if user is not None else None


class BearerTokens:
    """Tries each kind of token in turn; what succeeded is believed for 10 seconds."""

    def __init__(self, authenticators: Sequence[TokenAuthenticator], audiences: Sequence[str], clock: Clock) -> None:
        self._authenticators = authenticators
        self._audiences = tuple(audiences)
        self._clock = clock
        self._cache: dict[bytes, tuple[float, TokenUser]] = {}

    async def authenticate(self, scope: Scope) -> User | None:
        token = bearer_token(scope)
        if not token:
            return None
        found, errors = await self._check(token, self._audiences)
        if found is None:
            log.v(2).warning("Unable to authenticate the request", err=_join(errors))
            raise Unauthorized()
        return found.user

    async def review(self, token: str, audiences: Sequence[str]) -> Reviewed:
        wanted = tuple(audiences) or self._audiences
        found, errors = await self._check(token, wanted)
        if found is None:
            return Reviewed(None, (), _join(errors))
        return Reviewed(with_groups(found.user), found.audiences)

    def forget(self) -> None:
        """Believes nothing that was believed before: the authenticators have changed."""
        self._cache.clear()

    async def _check(self, token: str, audiences: tuple[str, ...]) -> tuple[TokenUser | None, list[str]]:
        key = _digest("\x00".join((token, *audiences)))
        now = self._clock.monotonic()
        cached = self._cache.get(key)
        if cached is not None and cached[0] > now:
            return cached[1], []
        errors = ["invalid bearer token"]
        for authenticator in self._authenticators:
            try:
                found = await authenticator.check(token, audiences)
            except TokenError as error:
                errors.append(str(error))
                continue
            if found is not None:
                self._remember(key, now, found)
                return found, []
        return None, errors

    def _remember(self, key: bytes, now: float, found: TokenUser) -> None:
        if len(self._cache) >= _CACHE_SIZE:
            self._cache = {k: v for k, v in self._cache.items() if v[0] > now}
            while len(self._cache) >= _CACHE_SIZE:
                self._cache.pop(next(iter(self._cache)))
        self._cache[key] = (now + _CACHE_SECONDS, found)


def bearer_token(scope: Scope) -> str:
    """The token in the Authorization header, or in a WebSocket's subprotocol; "" when there is none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return _from_header(scope, value.decode("latin-1").strip())
    for name, value in scope["headers"]:
        if name == b"sec-websocket-protocol":
            for protocol in value.split(b","):
                protocol = protocol.strip()
                if protocol.startswith(WEBSOCKET_PREFIX):
                    return _from_protocol(protocol[len(WEBSOCKET_PREFIX):])
    return ""


def _from_header(scope: Scope, header: str) -> str:
    parts = header.split(" ", 2)
    if len(parts) < 2 or parts[0].lower() != "bearer":
        return ""
    if not parts[1] and len(parts) == 3:
        scope.setdefault(WARNINGS, []).append(_EXTRA_SPACE)
    return parts[1]


def _from_protocol(encoded: bytes) -> str:
    try:
        return base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized() from None


def with_groups(user: User) -> User:
    """Adds system:authenticated to whoever is not marked yet."""
    if user.name == "system:anonymous" or "system:authenticated" in user.groups or "system:unauthenticated" in user.groups:
        return user
    return User(user.name, user.uid, (*user.groups, "system:authenticated"), user.extra)


def _join(errors: Sequence[str]) -> str:
    return errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
