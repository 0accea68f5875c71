"""OpenID Connect tokens (`apiserver/plugin/pkg/authenticator/token/oidc`): JWTs, by the keys their issuers publish.

Issuers come from --oidc-* or from --authentication-config; what their claims mean is in `claims`, groups kept elsewhere in `distributed`.
"""
from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence

from kubepy.apiserver.authn.claims import Issuer, Mapped, Rule, user_of
from kubepy.apiserver.authn.distributed import Resolver
from kubepy.apiserver.authn.token import TokenUser
from kubepy.apiserver.authn.verify import Fetch, Verifier, fetcher, peek
from kubepy.base.clock import Clock


class Oidc:
    """Checks the tokens of one issuer; `audiences` are the API server's own, for which they then are good."""

    def __init__(self, issuer: Issuer, clock: Clock, fetch: Fetch, audiences: Sequence[str] = ()) -> None:
        self.issuer = issuer
        self._verifier = Verifier(issuer.url, issuer.audiences, issuer.algorithms, clock, fetch, issuer.discovery_url)
        self._resolver = Resolver(issuer, clock, fetch)
        self._audiences = tuple(audiences)

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        claims = peek(token)
        if claims is None or claims.get("iss") != self.issuer.url:
            return None
        found = await self._resolver.expand(await self._verifier.verify(token))
        user = user_of(self.issuer, found)
        good = [audience for audience in audiences if audience in self._audiences]
        return TokenUser(user, good) if good or not audiences else None


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
        if not self._known or (claims := peek(token)) is None:
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
