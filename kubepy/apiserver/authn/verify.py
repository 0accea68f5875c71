"""Verifies an issuer's JWTs by the keys it publishes (OpenID Connect discovery), and fetches what that takes over TLS."""
from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kubepy.apiserver.authn.token import TokenError
from kubepy.apiserver.authz.rule import go_list
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger

log = get_logger("authn")
REFRESH_SECONDS = 10.0
"""Between two requests for the issuer's keys, however many unknown ones tokens name."""
MAX_ANSWER = 1 << 20


class Fetch(Protocol):
    """GET of `url`, with `bearer` as its token where given; raises OSError or ValueError."""

    def __call__(self, url: str, bearer: str = "") -> Awaitable[bytes]: ...


class Verifier:
    """Of the tokens of the issuer at `url` that are for one of `audiences`."""

    def __init__(self, url: str, audiences: Sequence[str], algorithms: Sequence[str], clock: Clock, fetch: Fetch,
                 discovery_url: str = "") -> None:
        self._url, self._audiences, self._algorithms = url, sorted(audiences), list(algorithms)
        self._clock, self._fetch = clock, fetch
        self._discovery_url = discovery_url or f"{url.rstrip('/')}/.well-known/openid-configuration"
        self._keys: KeySet | None = None
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def verify(self, token: str) -> dict[str, Any]:
        """The claims; raises TokenError."""
        claims = await self._verify_signature(token)
        self._check(claims)
        return claims

    async def _verify_signature(self, token: str) -> dict[str, Any]:
        for attempt in (0, 1):
            keys = await self._key_set(renew=attempt == 1)
            try:
                return jwt.decode(token, keys, algorithms=self._algorithms).claims
            except (JoseError, ValueError) as error:
                if attempt:
                    raise TokenError(f"oidc: verify token: failed to verify signature: {error}") from error
        raise AssertionError

    def _check(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now()
        expires, begins = claims.get("exp"), claims.get("nbf")
        if not isinstance(expires, (int, float)) or isinstance(expires, bool) or expires <= now:
            raise TokenError("oidc: verify token: oidc: token is expired")
        if isinstance(begins, (int, float)) and begins > now:
            raise TokenError("oidc: verify token: oidc: current time is before the nbf (not before) time")
        audience = claims.get("aud")
        given = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
        if not set(self._audiences).intersection(item for item in given if isinstance(item, str)):
            raise TokenError(f"oidc: verify token: oidc: expected audience in {go_list(self._audiences)} got {go_list(given)}")

    async def _key_set(self, *, renew: bool) -> KeySet:
        async with self._lock:
            now = self._clock.monotonic()
            if self._keys is None or (renew and now - self._fetched >= REFRESH_SECONDS):
                if self._keys is None and now - self._fetched < REFRESH_SECONDS:
                    raise TokenError("oidc: authenticator not initialized")
                self._fetched = now
                try:
                    found = orjson.loads(await self._fetch(self._discovery_url))
                    if found.get("issuer") != self._url:
                        raise ValueError(f"issuer did not match: {found.get('issuer')!r}")
                    self._keys = KeySet.import_key_set(orjson.loads(await self._fetch(found["jwks_uri"])))
                except (OSError, ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
                    log.error("The keys of the OpenID issuer cannot be read", error, issuer=self._url)
                    if self._keys is None:
                        raise TokenError("oidc: authenticator not initialized") from error
            return self._keys


def peek(token: str) -> dict[str, Any] | None:
    """A token's claims, not verified: whose it says it is. None for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, orjson.JSONDecodeError):
        return None
    return claims if isinstance(claims, dict) else None


def fetcher(context: ssl.SSLContext) -> Fetch:
    """Fetches by https only, answers of at most `MAX_ANSWER` bytes, within ten seconds."""

    async def fetch(url: str, bearer: str = "") -> bytes:
        import aiohttp

        if not url.startswith("https://"):
            raise ValueError(f"{url} is no https URL")
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        try:
            async with asyncio.timeout(10.0), aiohttp.ClientSession() as session, session.get(url, ssl=context, headers=headers) as answer:
                data = await answer.content.read(MAX_ANSWER)
                while len(data) < MAX_ANSWER and (more := await answer.content.read(64 << 10)):
                    data += more
                if answer.status != 200:
                    raise ValueError(f"{url} answered {answer.status}")
                return data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{url}: {error}") from error

    return fetch
