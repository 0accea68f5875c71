"""Service-account tokens: who holds a good one is let in, and nobody who forges, borrows or keeps one too long."""
from __future__ import annotations

import base64
import hmac
import json

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from kubepy.api.errors import Unauthorized
from kubepy.api.resource import NODES, PODS, SECRETS, SERVICE_ACCOUNTS
from kubepy.apiserver.authn.issuer import TokenIssuer, VerificationKey, discovery_document, jwks_document
from kubepy.apiserver.authn.service_account import ServiceAccountTokens
from kubepy.apiserver.authn.token import BearerTokens
from kubepy.base.clock import VirtualClock, settle
from tests.unit.apiserver.stores import MemoryStores, put

ISSUER = "https://kubernetes.default.svc"
NOW = 1_700_000_000
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def pem(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class World:
    """One account `robot` with a pod, a secret and a node to be bound to."""

    def __init__(self) -> None:
        self.stores = MemoryStores()
        self.clock = VirtualClock(NOW)
        self.issuer = TokenIssuer(ISSUER, pem(KEY), [ISSUER])
        self.bearer = self.accepting([KEY])
        self.uids: dict[str, str] = {}

    def accepting(self, keys, issuers=(ISSUER,)) -> BearerTokens:
        tokens = ServiceAccountTokens(issuers, [VerificationKey(key.public_key()) for key in keys], self.stores, self.clock, [ISSUER])
        return BearerTokens([tokens], [ISSUER], self.clock)

    async def fill(self) -> None:
        self.uids["account"] = await put(self.stores, SERVICE_ACCOUNTS, "robot", "ns")
        self.uids["pod"] = await put(self.stores, PODS, "p", "ns", spec={})
        self.uids["secret"] = await put(self.stores, SECRETS, "s", "ns")
        self.uids["node"] = await put(self.stores, NODES, "n")

    def token(self, seconds: int = 3600, audiences=(ISSUER,), **bound: str) -> str:
        claims = {kind: {"name": name, "uid": self.uids[kind]} for kind, name in bound.items()}
        return self.issuer.issue("ns", {"name": "robot", "uid": self.uids["account"]}, list(audiences), seconds, NOW, **claims)

    def forge(self, key, algorithm: str, *, header=None, **changes) -> str:
        claims = {**claims_of(self.token()), **changes}
        return jws.serialize_compact({"alg": algorithm, **(header or {})}, orjson.dumps(claims), key, [algorithm])

    async def login(self, token: str, bearer: BearerTokens | None = None):
        return await (bearer or self.bearer).authenticate({"headers": [(b"authorization", b"Bearer " + token.encode())]})


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(token: str) -> dict:
    text = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@pytest.fixture
async def world():
    found = World()
    await found.fill()
    yield found
    await found.stores.close()


async def test_a_good_token_is_the_account(world: World) -> None:
    user = await world.login(world.token(pod="p", node="n"))
    assert user.name == "system:serviceaccount:ns:robot"
    assert user.uid == world.uids["account"]
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns")
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/node-uid"] == (world.uids["node"],)
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


def none_token(world: World) -> str:
    return ".".join((part(orjson.dumps({"alg": "none"})), world.token().split(".")[1], ""))


def hmac_with_public_key(world: World) -> str:
    """The classic confusion: the public key as an HMAC secret."""
    signed = f"{part(orjson.dumps({'alg': 'HS256'}))}.{world.token().split('.')[1]}"
    return f"{signed}.{part(hmac.digest(public_pem(KEY), signed.encode(), 'sha256'))}"


ATTACKS = {
    "alg none": none_token,
    "alg none with the signature kept": lambda w: ".".join((part(b'{"alg":"none"}'), *w.token().split(".")[1:])),
    "HMAC with the public key as its secret": hmac_with_public_key,
    "another key": lambda w: w.forge(ECKey.import_key(pem(OTHER_KEY)), "ES256"),
    "another key under our key's id": lambda w: w.forge(ECKey.import_key(pem(OTHER_KEY)), "ES256",
                                                        header={"kid": VerificationKey(KEY.public_key()).kid}),
    "an RSA key": lambda w: w.forge(RSAKey.import_key(pem(RSA_KEY)), "RS256"),
    "a key of the attacker's in the header": lambda w: w.forge(ECKey.import_key(pem(OTHER_KEY)), "ES256", header={
        "jwk": ECKey.import_key(pem(OTHER_KEY)).as_dict(private=False)}),
    "another issuer": lambda w: w.forge(ECKey.import_key(pem(KEY)), "ES256", iss="https://evil.example"),
    "another audience": lambda w: w.token(audiences=["vault"]),
    "expired": lambda w: w.token(seconds=-120),
    "not valid yet": lambda w: w.forge(ECKey.import_key(pem(KEY)), "ES256", nbf=NOW + 600),
    "without an end": lambda w: w.forge(ECKey.import_key(pem(KEY)), "ES256", exp=None),
    "a subject that differs from the claims": lambda w: w.forge(ECKey.import_key(pem(KEY)), "ES256",
                                                                sub="system:serviceaccount:kube-system:admin"),
    "claims that are no object": lambda w: w.forge(ECKey.import_key(pem(KEY)), "ES256", **{"kubernetes.io": "x"}),
    "a changed payload": lambda w: tampered(w.token()),
    "a cut signature": lambda w: w.token()[:-4],
    "nothing but dots": lambda w: "..",
    "megabytes": lambda w: "a." + "b" * 1_000_000 + ".c",
}


def tampered(token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part(orjson.dumps({**claims_of(token), 'sub': 'system:serviceaccount:ns:root'}))}.{signature}"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_attacks_are_refused(world: World, attack) -> None:
    with pytest.raises(Unauthorized):
        await world.login(attack(world))


@pytest.mark.parametrize(("bound", "resource", "namespace", "name"), [
    ({}, SERVICE_ACCOUNTS, "ns", "robot"),
    ({"pod": "p"}, PODS, "ns", "p"),
    ({"secret": "s"}, SECRETS, "ns", "s"),
    ({"node": "n"}, NODES, "", "n"),
], ids=["its account", "its pod", "its secret", "its node"])
async def test_a_token_dies_with_what_it_is_bound_to(world: World, bound, resource, namespace, name) -> None:
    token = world.token(**bound)
    await world.stores[resource].delete(namespace, name)
    await settle()
    with pytest.raises(Unauthorized):
        await world.login(token)
    await put(world.stores, resource, name, namespace)  # a namesake does not revive it
    with pytest.raises(Unauthorized):
        await world.login(token)


async def test_a_success_is_believed_for_ten_seconds_and_no_longer(world: World) -> None:
    token = world.token(pod="p")
    await world.login(token)
    await world.stores[PODS].delete("ns", "p")
    await world.login(token)
    await world.clock.advance(10.1)
    with pytest.raises(Unauthorized):
        await world.login(token)


async def test_an_old_key_and_an_old_issuer_hold_while_they_are_rotated(world: World) -> None:
    token = world.token()
    rotated = world.accepting([OTHER_KEY, KEY], ("https://new.example", ISSUER))
    assert (await world.login(token, rotated)).name == "system:serviceaccount:ns:robot"
    with pytest.raises(Unauthorized):
        await world.login(token, world.accepting([OTHER_KEY]))


async def test_the_kubelets_lifetime_is_extended_with_a_warning_time(world: World) -> None:
    claims = claims_of(world.token(seconds=3607, pod="p"))
    assert claims["exp"] - NOW == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] == NOW + 3607


async def test_legacy_tokens_hold_while_their_secret_has_them(world: World) -> None:
    prefix = "kubernetes.io/serviceaccount/"
    claims = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ns:robot", prefix + "namespace": "ns",
              prefix + "secret.name": "old", prefix + "service-account.name": "robot",
              prefix + "service-account.uid": world.uids["account"]}
    token = jws.serialize_compact({"alg": "ES256"}, orjson.dumps(claims), ECKey.import_key(pem(KEY)), ["ES256"])
    await put(world.stores, SECRETS, "old", "ns", data={"token": base64.b64encode(token.encode()).decode()})
    assert (await world.login(token)).uid == world.uids["account"]
    secret = (await world.stores[SECRETS].get("ns", "old")).decode()
    assert secret["metadata"]["labels"] == {"kubernetes.io/legacy-token-last-used": "2023-11-14"}
    await world.stores[SECRETS].delete("ns", "old")
    await world.clock.advance(11)
    with pytest.raises(Unauthorized):
        await world.login(token)


async def test_a_legacy_token_that_was_marked_invalid_is_refused(world: World) -> None:
    prefix = "kubernetes.io/serviceaccount/"
    claims = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ns:robot", prefix + "namespace": "ns",
              prefix + "secret.name": "old", prefix + "service-account.name": "robot",
              prefix + "service-account.uid": world.uids["account"]}
    token = jws.serialize_compact({"alg": "ES256"}, orjson.dumps(claims), ECKey.import_key(pem(KEY)), ["ES256"])
    await put(world.stores, SECRETS, "old", "ns", data={"token": base64.b64encode(token.encode()).decode()},
              metadata={"labels": {"kubernetes.io/legacy-token-invalid-since": "2023-11-01"}})
    with pytest.raises(Unauthorized):
        await world.login(token)


def test_discovery_lets_others_verify() -> None:
    keys = [VerificationKey(KEY.public_key()), VerificationKey(RSA_KEY.public_key())]
    document = orjson.loads(discovery_document(ISSUER, f"{ISSUER}/openid/v1/jwks", keys))
    assert document["id_token_signing_alg_values_supported"] == ["ES256", "RS256"]
    published = orjson.loads(jwks_document(keys))["keys"]
    assert [key["kty"] for key in published] == ["EC", "RSA"]
    assert not any(secret in key for key in published for secret in ("d", "p", "q"))
