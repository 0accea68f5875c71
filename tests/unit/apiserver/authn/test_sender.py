"""Certificates, static and bootstrap tokens, header forms, the front proxy, and the order in which they are asked."""
from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization

from kubepy.api.errors import BadRequest, Forbidden, Unauthorized
from kubepy.api.resource import SECRETS
from kubepy.apiserver.authn.build import AuthenticationOptions, build
from kubepy.apiserver.authn.impersonation import Impersonation
from kubepy.apiserver.authn.interface import CERTIFICATES, WARNINGS
from kubepy.apiserver.authz.interface import Access, Decision
from kubepy.apiserver.request import RequestInfo, User
from kubepy.base.clock import SystemClock, format_time
from kubepy.base.watched import Files
from kubepy.cli.pki.issue import Subject, make_ca, make_leaf, new_key
from tests.unit.apiserver.stores import MemoryStores, put

CA_KEY, PROXY_KEY, EVIL_KEY = new_key(), new_key(), new_key()
CA, PROXY_CA, EVIL_CA = make_ca("ca", CA_KEY), make_ca("proxy", PROXY_KEY), make_ca("ca", EVIL_KEY)
BOB = Subject("bob", ("devs", "ops"), client=True)


def der(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def leaf(subject=BOB, ca=CA, key=CA_KEY, now=None) -> bytes:
    return der(make_leaf(subject, new_key(), ca, key, now))


def scope(*headers: tuple[str, str], certificate: bytes | None = None):
    return {"headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            CERTIFICATES: (certificate,) if certificate else ()}


@pytest.fixture
async def authenticator(tmp_path):
    (tmp_path / "ca.crt").write_bytes(CA.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "proxy.crt").write_bytes(PROXY_CA.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "tokens.csv").write_text('secret,carol,7,"devs,ops"\nplain,dave,8\n\n')
    stores = MemoryStores()
    options = AuthenticationOptions(
        client_ca_file=tmp_path / "ca.crt", requestheader_client_ca_file=tmp_path / "proxy.crt",
        requestheader_allowed_names=("aggregator",), token_auth_file=tmp_path / "tokens.csv", enable_bootstrap_token_auth=True)
    built = build(options, stores, SystemClock(), Files())
    built.authenticator.stores = stores
    yield built.authenticator
    await stores.close()


async def who(authenticator, found) -> tuple[str, tuple[str, ...]] | int:
    try:
        user = await authenticator.authenticate(found)
    except Unauthorized:
        return 401
    return user.name, tuple(user.groups)


ANONYMOUS = ("system:anonymous", ("system:unauthenticated",))
CAROL = ("carol", ("devs", "ops", "system:authenticated"))
PROXY = Subject("aggregator", client=True)
YEARS_AGO = datetime.now(UTC) - timedelta(days=800)


@pytest.mark.parametrize(("found", "expected"), [
    pytest.param(lambda: scope(certificate=leaf()), ("bob", ("devs", "ops", "system:authenticated")), id="a certificate of ours"),
    pytest.param(lambda: scope(certificate=leaf(ca=EVIL_CA, key=EVIL_KEY)), 401, id="another authority of the same name"),
    pytest.param(lambda: scope(certificate=leaf(now=YEARS_AGO)), 401, id="an expired certificate"),
    pytest.param(lambda: scope(certificate=leaf(Subject("bob", ("system:masters",), server=True))), 401, id="a serving certificate"),
    pytest.param(lambda: scope(certificate=leaf(PROXY, PROXY_CA, PROXY_KEY)), 401, id="a front proxy without headers"),
    pytest.param(lambda: scope(("X-Remote-User", "eve"), ("X-Remote-Group", "g"), certificate=leaf(PROXY, PROXY_CA, PROXY_KEY)),
                 ("eve", ("g", "system:authenticated")), id="the front proxy names the user"),
    pytest.param(lambda: scope(("X-Remote-User", "eve"), certificate=leaf(Subject("mallory", client=True), PROXY_CA, PROXY_KEY)), 401,
                 id="a name that may not be a front proxy"),
    pytest.param(lambda: scope(("X-Remote-User", "system:admin"), ("X-Remote-Group", "system:masters"), certificate=leaf()),
                 ("bob", ("devs", "ops", "system:authenticated")), id="an ordinary client's proxy headers are nothing"),
    pytest.param(lambda: scope(("X-Remote-User", "eve")), ANONYMOUS, id="proxy headers without a certificate are nothing"),
    pytest.param(lambda: scope(("Authorization", "Bearer secret")), CAROL, id="a static token"),
    pytest.param(lambda: scope(("Authorization", "bEaReR secret")), CAROL, id="the scheme's case does not matter"),
    pytest.param(lambda: scope(("Authorization", "Bearer secret more")), CAROL, id="words after the token are dropped"),
    pytest.param(lambda: scope(("Authorization", "Bearer wrong")), 401, id="a wrong token is no anonymous"),
    pytest.param(lambda: scope(("Authorization", "Bearer wrong"), certificate=leaf()), ("bob", ("devs", "ops", "system:authenticated")),
                 id="a certificate comes before a wrong token"),
    pytest.param(lambda: scope(("Authorization", "Basic c2VjcmV0")), ANONYMOUS, id="basic is ignored"),
    pytest.param(lambda: scope(("Authorization", "Bearer")), ANONYMOUS, id="no token"),
    pytest.param(lambda: scope(("Sec-WebSocket-Protocol", "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0")), CAROL,
                 id="a token in a WebSocket's protocols"),
    pytest.param(scope, ANONYMOUS, id="nothing"),
])
async def test_who_sent_it(authenticator, found, expected) -> None:
    assert await who(authenticator, found()) == expected


async def test_extra_space_before_a_token_is_warned_about(authenticator) -> None:
    found = scope(("Authorization", "Bearer  secret"))
    assert await who(authenticator, found) == ANONYMOUS
    assert found[WARNINGS] == ["the provided Authorization header contains extra space before the bearer token, and is ignored"]


def bootstrap_secret(**changes: str):
    data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:workers", **changes}
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


@pytest.mark.parametrize(("token", "kind", "changes", "good"), [
    pytest.param("abcdef.0123456789abcdef", "bootstrap.kubernetes.io/token", {}, True, id="a good one"),
    pytest.param("abcdef.0123456789abcdeX", "bootstrap.kubernetes.io/token", {}, False, id="another form"),
    pytest.param("abcdef.fedcba9876543210", "bootstrap.kubernetes.io/token", {}, False, id="another secret"),
    pytest.param("abcdef.0123456789abcdef", "Opaque", {}, False, id="another type of secret"),
    pytest.param("abcdef.0123456789abcdef", "bootstrap.kubernetes.io/token", {"usage-bootstrap-authentication": "no"}, False,
                 id="another use"),
    pytest.param("abcdef.0123456789abcdef", "bootstrap.kubernetes.io/token", {"expiration": format_time(1)}, False, id="expired"),
    pytest.param("abcdef.0123456789abcdef", "bootstrap.kubernetes.io/token", {"expiration": "soon"}, False, id="an unreadable end"),
    pytest.param("abcdef.0123456789abcdef", "bootstrap.kubernetes.io/token", {"auth-extra-groups": "system:masters"}, False,
                 id="a group it may not give"),
])
async def test_bootstrap_tokens(authenticator, token: str, kind: str, changes: dict[str, str], good: bool) -> None:
    await put(authenticator.stores, SECRETS, "bootstrap-token-abcdef", "kube-system", type=kind, data=bootstrap_secret(**changes))
    expected = ("system:bootstrap:abcdef", ("system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"))
    assert await who(authenticator, scope(("Authorization", f"Bearer {token}"))) == (expected if good else 401)


class Allow:
    """Allows what is listed as `verb resource name`."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    async def authorize(self, access: Access) -> Decision:
        return Decision("allow" if f"{access.verb} {access.resource} {access.name}".strip() in self.allowed else "no opinion")

    async def ready(self) -> None: ...


PODS_LIST = RequestInfo("/api/v1/pods", "list", True, "", "v1", "pods")
ROBOT = User("system:serviceaccount:ns:robot", "", (), {"authentication.kubernetes.io/node-name": ("n1",)})


@pytest.mark.parametrize(("allowed", "headers", "expected"), [
    pytest.param((), [("Impersonate-User", "bob")], Forbidden, id="nothing is allowed by itself"),
    pytest.param(("impersonate users bob",), [("Impersonate-User", "bob")], ("bob", ("system:authenticated",)), id="the classic verb"),
    pytest.param(("impersonate users bob",), [("Impersonate-User", "bob"), ("Impersonate-Group", "system:masters")], Forbidden,
                 id="the user alone does not give groups"),
    pytest.param(("impersonate:user-info users bob",), [("Impersonate-User", "bob")], Forbidden,
                 id="constrained: an identity without an action"),
    pytest.param(("impersonate-on:user-info:list pods",), [("Impersonate-User", "bob")], Forbidden,
                 id="constrained: an action without an identity"),
    pytest.param(("impersonate:user-info users bob", "impersonate-on:user-info:list pods"), [("Impersonate-User", "bob")],
                 ("bob", ("system:authenticated",)), id="constrained: both"),
    pytest.param(("impersonate:user-info users bob", "impersonate:user-info groups system:masters", "impersonate-on:user-info:list pods"),
                 [("Impersonate-User", "bob"), ("Impersonate-Group", "system:masters")], Forbidden, id="constrained: never system:masters"),
    pytest.param(("impersonate:user-info users system:node:n2", "impersonate-on:user-info:list pods"),
                 [("Impersonate-User", "system:node:n2")], Forbidden, id="constrained: a node is no plain user"),
    pytest.param(("impersonate:associated-node nodes *", "impersonate-on:associated-node:list pods"),
                 [("Impersonate-User", "system:node:n1")], ("system:node:n1", ("system:nodes", "system:authenticated")), id="its own node"),
    pytest.param(("impersonate:associated-node nodes *", "impersonate-on:associated-node:list pods"),
                 [("Impersonate-User", "system:node:n2")], Forbidden, id="not another node"),
    pytest.param(("impersonate users bob", "impersonate userextras view"),
                 [("Impersonate-User", "bob"), ("Impersonate-Extra-Scopes", "view")],
                 ("bob", ("system:authenticated",)), id="extra needs its own right"),
    pytest.param((), [("Impersonate-Group", "devs")], BadRequest, id="groups without a user"),
    pytest.param((), [("Impersonate-User", "")], (ROBOT.name, ()), id="an empty user is none"),
])
async def test_impersonation(allowed, headers, expected) -> None:
    impersonation = Impersonation(Allow(*allowed))
    request = scope(*headers)
    if isinstance(expected, type):
        with pytest.raises(expected):
            await impersonation.impersonate(request, ROBOT, PODS_LIST)
        return
    user = await impersonation.impersonate(request, ROBOT, PODS_LIST)
    assert (user.name, tuple(user.groups)) == expected
