"""OpenID Connect tokens (`apiserver/plugin/pkg/authenticator/token/oidc`): JWTs, by the keys their issuers publish.

Issuers come from --oidc-* or from --authentication-config; what their claims mean is in `claims`.

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

from kubepy.apiserver.authn.claims import Issuer, Mapped, Rule, user_of
from kubepy.apiserver.authn.token import TokenError, TokenUser
from kubepy.apiserver.authz.rule import go_list
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger

log = get_logger("authn")
REFRESH_SECONDS = 10.0
"""Between two requests for the issuer's keys, however many unknown ones tokens name."""
MAX_ANSWER = 1 << 20
Fetch = Callable[[str], Any]


class Oidc:
    """Checks the tokens of one issuer; `audiences` are the API server's own, for which they then are good."""

    def __init__(self, issuer: Issuer, clock: Clock, fetch: Fetch, audiences: Sequence[str] = ()) -> None:
        self.issuer, self._clock, self._fetch = issuer, clock, fetch
        self._algorithms = list(issuer.algorithms)
        self._audiences = tuple(audiences)
        self._keys: KeySet | None = None
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        claims = _peek(token)
        if claims is None or claims.get("iss") != self.issuer.url:
            return None
        found = await self._verify(token)
        self._check_claims(found)
        user = user_of(self.issuer, found)
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
        given = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
        wanted = sorted(self.issuer.audiences)
        if not set(wanted).intersection(item for item in given if isinstance(item, str)):
            raise TokenError(f"oidc: verify token: oidc: expected audience in {go_list(wanted)} got {go_list(given)}")

    async def _key_set(self, *, renew: bool) -> KeySet:
        async with self._lock:
            now = self._clock.monotonic()
            if self._keys is None or (renew and now - self._fetched >= REFRESH_SECONDS):
                if self._keys is None and now - self._fetched < REFRESH_SECONDS:
                    raise TokenError("oidc: authenticator not initialized")
                self._fetched = now
                try:
                    url = self.issuer.discovery_url or f"{self.issuer.url.rstrip('/')}/.well-known/openid-configuration"
                    found = await self._fetch(url)
                    if found.get("issuer") != self.issuer.url:
                        raise ValueError(f"issuer did not match: {found.get('issuer')!r}")
                    self._keys = KeySet.import_key_set(await self._fetch(found["jwks_uri"]))
                except (OSError, ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
                    log.error("The keys of the OpenID issuer cannot be read", error, issuer=self.issuer.url)
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


class Issuers:
    """The configured issuers, which may change while the server runs."""

    def __init__(self, clock: Clock, audiences: Sequence[str] = (), make: Callable[[Issuer], Fetch] | None = None) -> None:
        self._clock, self._audiences = clock, audiences
        self._make = make or (lambda issuer: fetcher(context(issuer.authority)))
        self._known: dict[str, Oidc] = {}

    def replace(self, issuers: Sequence[Issuer]) -> None:
        """Those that stay as they were keep the keys they have. Raises ValueError for authorities that cannot be read."""
        self._known = {issuer.url: old if (old := self._known.get(issuer.url)) is not None and old.issuer == issuer
                       else Oidc(issuer, self._clock, self._make(issuer), self._audiences) for issuer in issuers}

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        if not self._known or (claims := _peek(token)) is None:
            return None
        found = self._known.get(str(claims.get("iss")))
        return await found.check(token, audiences) if found is not None else None


def from_flags(url: str, client_id: str, *, username_claim: str = "sub", username_prefix: str = "", groups_claim: str = "",
               groups_prefix: str = "", required: Mapping[str, str] | None = None, algorithms: Sequence[str] = ("RS256",),
               authority: str = "") -> Issuer:
    """The one issuer of --oidc-*. Its names must not be mistaken for others': only emails go without a prefix, unless that is "-"."""
    prefix = "" if username_prefix == "-" else username_prefix or ("" if username_claim == "email" else f"{url}#")
    return Issuer(url, (client_id,), Mapped(username_claim, prefix), authority=authority, groups=Mapped(groups_claim, groups_prefix),
                  rules=tuple(Rule(claim, value) for claim, value in (required or {}).items()), algorithms=tuple(algorithms))


def context(authority: str) -> ssl.SSLContext:
    """Trust in some authorities (PEM), or the system's."""
    return ssl.create_default_context(cadata=authority or None)


def fetcher(context: ssl.SSLContext) -> Fetch:
    """GET of a JSON document over TLS; raises OSError or ValueError."""

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
