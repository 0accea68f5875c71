"""OpenID Connect tokens, and tokens and requests judged by webhooks."""
from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from kubepy.apiserver.authn.oidc import Oidc, from_flags
from kubepy.apiserver.authn.token import TokenError
from kubepy.apiserver.authn.webhook import WebhookTokens
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.webhook import WebhookAuthorizer
from kubepy.apiserver.request import User
from kubepy.apiserver.webhook.peer import PeerError
from kubepy.base.clock import SystemClock

ISSUER = "https://issuer.example.com"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
CLAIMS = {"iss": ISSUER, "aud": "kube", "sub": "u1", "exp": 4_000_000_000, "groups": ["devs"], "hd": "x"}


ELSEWHERE = "https://groups.example.com"


async def fetch(url: str, bearer: str = "") -> bytes:
    """Two issuers with a key each, and the endpoint of groups, which asks for a token."""
    issuer, key = (ELSEWHERE, OTHER) if url.startswith(ELSEWHERE) else (ISSUER, KEY)
    if url.endswith("openid-configuration"):
        return orjson.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/keys"})
    if url.endswith("/keys"):
        return orjson.dumps(KeySet([key]).as_dict(private=False))
    if bearer != "secret":
        raise ValueError(f"{url} answered 401")
    return token({"/mine": OTHER, "/forged": KEY}[url.removeprefix(ELSEWHERE)], iss=ELSEWHERE, groups=["far"]).encode()


def referred(path: str, bearer: str = "secret", source: str = "one", claim: str = "groups") -> str:
    """A token whose groups are at a path of ELSEWHERE."""
    return token(groups=None, _claim_names={claim: "one"},
                 _claim_sources={source: {"endpoint": ELSEWHERE + path, "access_token": bearer}} if path else {source: {"JWT": "x.y.z"}})


def authenticator() -> Oidc:
    issuer = from_flags(ISSUER, "kube", groups_claim="groups", groups_prefix="oidc:", required={"hd": "x"})
    return Oidc(issuer, SystemClock(), fetch, ("api",))


def token(key: RSAKey = KEY, alg: str = "RS256", **changes: Any) -> str:
    """None takes a claim out of the usual ones."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "one"}, claims, key, algorithms=[alg])


def test_a_good_token_names_its_user() -> None:
    found = asyncio.run(authenticator().check(token(), ["api"]))
    assert found is not None
    assert found.user == User(f"{ISSUER}#u1", "", ("oidc:devs",))


@pytest.mark.parametrize(("given", "groups"), [
    pytest.param(referred("/mine"), ("oidc:far",), id="from the endpoint"),
    pytest.param(referred("/mine", claim="roles"), (), id="other claims are not asked for"),
    pytest.param(referred(""), (), id="a claim inside the token is left alone"),
])
def test_groups_kept_elsewhere(given: str, groups: tuple[str, ...]) -> None:
    found = asyncio.run(authenticator().check(given, ["api"]))
    assert found is not None
    assert found.user.groups == groups


@pytest.mark.parametrize(("given", "problem"), [
    pytest.param(referred("/forged"), "failed to verify signature", id="signed by another key"),
    pytest.param(referred("/mine", bearer="wrong"), "answered 401", id="not to be had"),
    pytest.param(referred("/mine", source="two"), "missing in _claims_sources", id="of a source that is not there"),
])
def test_groups_elsewhere_that_are_not_good_refuse_the_token(given: str, problem: str) -> None:
    with pytest.raises(TokenError, match=problem):
        asyncio.run(authenticator().check(given, ["api"]))


def test_a_token_of_another_issuer_is_left_to_others() -> None:
    assert asyncio.run(authenticator().check(token(iss="https://else"), ["api"])) is None
    assert asyncio.run(authenticator().check("no.jwt", ["api"])) is None


@pytest.mark.parametrize("bad", [
    pytest.param(token(OTHER), id="signed by another key"),
    pytest.param(token(alg="RS512"), id="by an algorithm that is off"),
    pytest.param(token(exp=1), id="expired"), pytest.param(token(exp=None), id="for ever"),
    pytest.param(token(aud="else"), id="for others"),
    pytest.param(token(nbf=4_000_000_000), id="not yet good"), pytest.param(token(hd="y"), id="without a required claim"),
    pytest.param(token(sub=""), id="of nobody"),
    pytest.param("eyJhbGciOiJub25lIn0." + token().split(".")[1] + ".", id="not signed at all"),
])
def test_a_bad_token_is_refused(bad: str) -> None:
    with pytest.raises(TokenError):
        asyncio.run(authenticator().check(bad, ["api"]))


class Peer:
    def __init__(self, status: Any) -> None:
        self.status, self.asked = status, 0

    async def post(self, obj: Any) -> Any:
        self.asked += 1
        if self.status is None:
            raise PeerError("away")
        return {"status": self.status}


def test_a_token_webhook_answers_for_the_servers_own_audiences_unless_it_says_otherwise() -> None:
    user = {"username": "eve", "groups": ["g"]}
    for told, good in ((None, True), (["api"], True), (["else"], False)):
        found = asyncio.run(WebhookTokens(Peer({"authenticated": True, "user": user, "audiences": told}), ["api"]).check("t", ["api"]))
        assert (found is not None) == good
    with pytest.raises(TokenError):
        asyncio.run(WebhookTokens(Peer(None), ["api"]).check("t", ["api"]))


@pytest.mark.parametrize(("status", "verdict", "asked"), [
    pytest.param({"allowed": True}, "allow", 1, id="allowed, and remembered"),
    pytest.param({"allowed": False}, "no opinion", 1, id="no opinion, and remembered"),
    pytest.param({"allowed": False, "denied": True, "reason": "no"}, "deny", 1, id="denied"),
    pytest.param({"allowed": True, "denied": True}, "deny", 2, id="both is a denial"),
    pytest.param(None, "no opinion", 2, id="a webhook that is away allows nothing and is asked again"),
])
def test_an_authorization_webhook_decides(status: Any, verdict: str, asked: int) -> None:
    async def run() -> None:
        peer = Peer(status)
        authorizer = WebhookAuthorizer(peer, SystemClock(), allowed_seconds=60, denied_seconds=60)
        access = Access(User("bob"), "get", "", "v1", "pods", name="a")
        for _ in range(2):
            assert (await authorizer.authorize(access)).verdict == verdict
        assert peer.asked == asked

    asyncio.run(run())
