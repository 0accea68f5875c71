"""Groups that an ID token only refers to: distributed claims of OpenID Connect Core 5.6.2, as upstream's `claimResolver` takes them.

The token names a source; its endpoint answers with a JWT of an issuer of its own, which must verify like any other and be for the same
audience. Aggregated claims (a JWT inside the token) are left alone, as upstream does.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from kubepy.apiserver.authn.claims import Issuer
from kubepy.apiserver.authn.token import TokenError
from kubepy.apiserver.authn.verify import Fetch, Verifier, peek
from kubepy.base.clock import Clock

MAX_ISSUERS = 100
"""Whose keys are kept."""


class Resolver:
    """For the groups claim of one issuer's tokens."""

    def __init__(self, issuer: Issuer, clock: Clock, fetch: Fetch) -> None:
        self._issuer, self._clock, self._fetch = issuer, clock, fetch
        self._verifiers: OrderedDict[str, Verifier] = OrderedDict()

    async def expand(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        """`claims` with the groups in them; raises TokenError."""
        claim, names = self._issuer.groups.claim, claims.get("_claim_names")
        if not claim or claim in claims or not names:
            return claims
        if not isinstance(names, dict):
            raise TokenError("oidc: could not expand distributed claims: oidc: error parsing distributed claim names: not an object")
        if (source := names.get(claim)) is None:
            return claims
        sources = claims.get("_claim_sources")
        endpoint = sources.get(source) if isinstance(sources, dict) else None
        if not isinstance(endpoint, dict):
            raise TokenError("oidc: could not expand distributed claims: "
                             f"id token _claim_names contained a source {source} missing in _claims_sources")
        if not (url := endpoint.get("endpoint")):
            return claims
        found = await self._resolve(str(url), str(endpoint.get("access_token") or ""))
        if claim not in found:
            raise TokenError("oidc: could not expand distributed claims: "
                             f"jwt returned by distributed claim endpoint {url!r} did not contain claim: {claim}")
        return {**claims, claim: found[claim]}

    async def _resolve(self, url: str, bearer: str) -> Mapping[str, Any]:
        try:
            token = (await self._fetch(url, bearer)).decode().strip()
        except (OSError, ValueError) as error:
            raise TokenError(f"oidc: could not expand distributed claims: while getting distributed claim: {error}") from error
        issuer = (peek(token) or {}).get("iss")
        if not isinstance(issuer, str) or not issuer:
            raise TokenError(f"oidc: could not expand distributed claims: getting untrusted issuer from endpoint {url!r} failed")
        return await self._verifier(issuer).verify(token)

    def _verifier(self, url: str) -> Verifier:
        found = self._verifiers.get(url)
        if found is None:
            found = Verifier(url, self._issuer.audiences, self._issuer.algorithms, self._clock, self._fetch)
            self._verifiers[url] = found
            if len(self._verifiers) > MAX_ISSUERS:
                self._verifiers.popitem(last=False)
        self._verifiers.move_to_end(url)
        return found
