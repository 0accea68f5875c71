"""OpenID Connect tokens (--oidc-*; `apiserver/plugin/pkg/authenticator/token/oidc`): JWTs of one issuer, by the keys it publishes.

Known difference: claims that an issuer only refers to (distributed claims) are not fetched.
"""
from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kubepy.apiserver.authn.token import TokenError, TokenUser
from kubepy.apiserver.request import User
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger

log = get_logger("authn")
ALGORITHMS = frozenset(("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"))
REFRESH_SECONDS = 10.0
"""Between two requests for the issuer's keys, however many unknown ones tokens name."""
MAX_ANSWER = 1 << 20
Fetch = Callable[[str], Any]


class Oidc:
    def __init__(self, issuer: str, client_id: str, clock: Clock, fetch: Fetch, *, username_claim: str = "sub",
                 username_prefix: str = "", groups_claim: str = "", groups_prefix: str = "", required: Mapping[str, str] | None = None,
                 algorithms: Sequence[str] = ("RS256",), audiences: Sequence[str] = ()) -> None:
        self._issuer, self._client, self._clock, self._fetch = issuer, client_id, clock, fetch
        self._username, self._groups = username_claim, groups_claim
        if username_prefix == "-":
            self._prefix = ""
        else:  # names of one issuer must not be mistaken for others': only emails go without
            self._prefix = username_prefix or ("" if username_claim == "email" else f"{issuer}#")
        self._groups_prefix = groups_prefix
        self._required = dict(required or {})
        self._algorithms = list(algorithms)
        self._audiences = tuple(audiences)
        self._keys: KeySet | None = None
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        claims = _peek(token)
        if claims is None or claims.get("iss") != self._issuer:
            return None
        found = await self._verify(token)
        self._check_claims(found)
        name = found.get(self._username)
        if not isinstance(name, str) or not name:
            raise TokenError(f'oidc: parse username claims "{self._username}": claim not present')
        if self._username == "email" and found.get("email_verified", True) is not True:
            raise TokenError("oidc: email not verified")
        groups: Any = found.get(self._groups) if self._groups else None
        groups = [groups] if isinstance(groups, str) else groups or []
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise TokenError(f'oidc: parse groups claim "{self._groups}": not a string or a list of strings')
        user = User(self._prefix + name, "", tuple(self._groups_prefix + group for group in groups))
        good = [audience for audience in audiences if audience in self._audiences]
        return TokenUser(user, good) if good or not audiences else None

    async def _verify(self, token: str) -> dict[str, Any]:
        for attempt in (0, 1):
            keys = await self._key_set(renew=attempt == 1)
            try:
                return jwt.decode(token, keys, algorithms=self._algorithms).claims
            except (JoseError, ValueError) as error:
                if attempt:
                    raise TokenError(f"oidc: verify token: failed to verify signature: {error}") from error
        raise AssertionError

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now()
        expires, begins = claims.get("exp"), claims.get("nbf")
        if not isinstance(expires, (int, float)) or isinstance(expires, bool) or expires <= now:
            raise TokenError("oidc: verify token: oidc: token is expired")
        if isinstance(begins, (int, float)) and begins > now:
            raise TokenError("oidc: verify token: oidc: current time is before the nbf (not before) time")
        audience = claims.get("aud")
        if self._client not in ([audience] if isinstance(audience, str) else audience or ()):
            raise TokenError(f'oidc: verify token: oidc: expected audience "{self._client}" got {audience}')
        for claim, value in self._required.items():
            if claims.get(claim) != value:
                raise TokenError(f'oidc: required claim {claim} value does not match')

    async def _key_set(self, *, renew: bool) -> KeySet:
        async with self._lock:
            now = self._clock.monotonic()
            if self._keys is None or (renew and now - self._fetched >= REFRESH_SECONDS):
                if self._keys is None and now - self._fetched < REFRESH_SECONDS:
                    raise TokenError("oidc: authenticator not initialized")
                self._fetched = now
                try:
                    found = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                    if found.get("issuer") != self._issuer:
                        raise ValueError(f"issuer did not match: {found.get('issuer')!r}")
                    self._keys = KeySet.import_key_set(await self._fetch(found["jwks_uri"]))
                except (OSError, ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
                    log.error("The keys of the OpenID issuer cannot be read", error, issuer=self._issuer)
                    if self._keys is None:
                        raise TokenError("oidc: authenticator not initialized") from error
            return self._keys


def _peek(token: str) -> dict[str, Any] | None:
    """The claims, not verified: whose token it says it is."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, orjson.JSONDecodeError):
        return None
    return claims if isinstance(claims, dict) else None


def fetcher(ca_file: str) -> Fetch:
    """GET of a JSON document over TLS; raises OSError or ValueError."""
    context = ssl.create_default_context(cafile=ca_file or None)

    async def fetch(url: str) -> Any:
        import aiohttp

        if not url.startswith("https://"):
            raise ValueError(f"{url} is no https URL")
        try:
            async with asyncio.timeout(10.0), aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
                data = await answer.content.read(MAX_ANSWER)
                while len(data) < MAX_ANSWER and (more := await answer.content.read(64 << 10)):
                    data += more
                if answer.status != 200:
                    raise ValueError(f"{url} answered {answer.status}")
                return orjson.loads(data)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{url}: {error}") from error

    return fetch
