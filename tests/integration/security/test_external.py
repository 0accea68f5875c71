"""Identities and decisions from elsewhere: OpenID issuers, token and authorization webhooks over TLS, by structured configuration."""
from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from kubepy.cli.pki import ensure_pki
from tests.apiserver import ApiServer
from tests.integration.security.issuer import External
from tests.integration.security.test_rotation import client, until

pytestmark = pytest.mark.etcd
KEY = RSAKey.generate_key(2048, {"kid": "one"})
FORGED = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "two"})
VERSION = "apiserver.config.k8s.io/v1"


def authentication(external: External, authority: str, prefix: str = "corp:") -> str:
    first = {
        "issuer": {"url": external.url, "audiences": ["kube", "cube"], "audienceMatchPolicy": "MatchAny",
                   "certificateAuthority": authority},
        "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"},
                                 {"expression": "claims.exp - claims.nbf <= 86400", "message": "lives too long"}],
        "claimMappings": {"username": {"claim": "sub", "prefix": prefix},
                          "groups": {"expression": "claims.roles.split(',').map(r, 'corp:' + r)"}, "uid": {"claim": "id"},
                          "extra": [{"key": "example.com/team", "valueExpression": "claims.team"}]},
        "userValidationRules": [{"expression": "!user.username.endsWith(':root')", "message": "root stays home"}]}
    second = {"issuer": {"url": "https://second.example.com", "discoveryURL": f"{external.url}/second", "audiences": ["kube"],
                         "certificateAuthority": authority},
              "claimMappings": {"username": {"expression": "claims.email_verified ? claims.email : ''"}}}
    return yaml.safe_dump({"apiVersion": VERSION, "kind": "AuthenticationConfiguration", "jwt": [first, second],
                           "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}, {"path": "/readyz"}]}})


def authorization(kubeconfig: Path, policy: str = "Deny") -> str:
    webhook = {"timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
               "failurePolicy": policy, "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(kubeconfig)},
               "authorizedTTL": "1s", "unauthorizedTTL": "1s",
               "matchConditions": [{"expression": "has(request.resourceAttributes)"},
                                   {"expression": "request.resourceAttributes.namespace == 'judged'"}]}
    return yaml.safe_dump({"apiVersion": VERSION, "kind": "AuthorizationConfiguration", "authorizers": [
        {"type": "Webhook", "name": "judge", "webhook": webhook}, {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}]})


def token(key: Any = KEY, alg: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "", "aud": "kube", "sub": "ann", "exp": now + 600, "nbf": now - 5, "hd": "example.com", "roles": "devs,ops",
              "id": "u-7", "team": ["red", ""], **changes}
    return jwt.encode({"alg": alg, "kid": key.as_dict().get("kid", "one")}, claims, key, algorithms=[alg])


class World:
    def __init__(self, server: ApiServer, external: External, directory: Path, authority: str, kubeconfig: Path) -> None:
        self.server, self.external, self.directory, self.authority, self.kubeconfig = server, external, directory, authority, kubeconfig
        self.admin = client(server.url, token=server.token)

    def get(self, path: str, bearer: str = "") -> httpx.Response:
        with client(self.server.url, token=bearer) as who:
            return who.get(path)

    def who(self, bearer: str) -> dict[str, Any] | int:
        with client(self.server.url, token=bearer) as who:
            answer = who.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})
        return answer.json()["status"]["userInfo"] if answer.status_code == 201 else answer.status_code

    def token(self, **changes: Any) -> str:
        return token(**{"iss": self.external.url, **changes})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("external")
    pki = ensure_pki(directory / "pki", node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    authority = Path(pki.ca.cert).read_text()
    with External(pki) as external:
        external.documents = {
            "/.well-known/openid-configuration": {"issuer": external.url, "jwks_uri": f"{external.url}/keys"},
            "/keys": KeySet([KEY]).as_dict(private=False),
            "/second": {"issuer": "https://second.example.com", "jwks_uri": f"{external.url}/keys2"},
            "/keys2": KeySet([OTHER]).as_dict(private=False)}
        kubeconfig = directory / "webhook.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": f"{external.url}/review", "certificate-authority": str(pki.ca.cert)}}],
            "users": [{"name": "x", "user": {"client-certificate": str(pki.admin.cert), "client-key": str(pki.admin.key)}}]}))
        (directory / "authn.yaml").write_text(authentication(external, authority))
        (directory / "authz.yaml").write_text(authorization(kubeconfig))
        external.reviews["TokenReview"] = lambda spec: (
            {"authenticated": True, "user": {"username": "hook", "uid": "h", "groups": ["hooks"], "extra": {"k": ["v"]}}}
            if spec["token"] == "known" else {"authenticated": False})
        external.reviews["SubjectAccessReview"] = lambda spec: {"allowed": False}
        server = ApiServer(f"--authentication-config={directory / 'authn.yaml'}", f"--authorization-config={directory / 'authz.yaml'}",
                           f"--authentication-token-webhook-config-file={kubeconfig}", "--authentication-token-webhook-version=v1")
        server.modes = ()
        with server:
            found = World(server, external, directory, authority, kubeconfig)
            yield found
            found.admin.close()


def test_an_issuers_claims_become_a_user(world: World) -> None:
    assert world.who(world.token()) == {
        "username": "corp:ann", "uid": "u-7", "groups": ["corp:devs", "corp:ops", "system:authenticated"],
        "extra": {"example.com/team": ["red"]}}
    assert world.who(world.token(aud=["else", "cube"]))["username"] == "corp:ann"
    second = token(OTHER, "ES256", iss="https://second.example.com", email="bob@example.com", email_verified=True)
    assert world.who(second) == {"username": "bob@example.com", "groups": ["system:authenticated"]}
    assert world.who("known") == {"username": "hook", "uid": "h", "groups": ["hooks", "system:authenticated"], "extra": {"k": ["v"]}}
    assert all(asked["client"] for asked in world.external.asked)  # the webhook was shown our certificate


def _unsigned(claims: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    return f"{header}.{claims.split('.')[1]}."


def _symmetric(world: World) -> str:
    """Signed with the public key as if it were a shared secret."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    signed = b".".join((header, world.token().split(".")[1].encode()))
    mac = hmac.digest(KEY.as_pem(private=False), signed, "sha256")
    return f"{signed.decode()}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("forge", [
    pytest.param(lambda world: world.token(key=FORGED), id="another key of the same name"),
    pytest.param(lambda world: _unsigned(world.token()), id="not signed"),
    pytest.param(_symmetric, id="the public key as a secret"),
    pytest.param(lambda world: world.token(aud="else"), id="for another audience"),
    pytest.param(lambda world: world.token(aud=None), id="for nobody"),
    pytest.param(lambda world: world.token(exp=int(time.time()) - 5), id="expired"),
    pytest.param(lambda world: world.token(exp=None), id="for ever"),
    pytest.param(lambda world: world.token(nbf=int(time.time()) + 600), id="not yet good"),
    pytest.param(lambda world: token(iss="https://third.example.com"), id="of an issuer nobody knows"),
    pytest.param(lambda world: token(iss="https://second.example.com"), id="of the other issuer, with this one's key"),
    pytest.param(lambda world: token(iss="https://kubernetes.default.svc", sub="system:serviceaccount:kube-system:default"),
                 id="of the service accounts' issuer"),
    pytest.param(lambda world: world.token(hd="else.com"), id="without a required value"),
    pytest.param(lambda world: world.token(exp=int(time.time()) + 10**6), id="against a rule about claims"),
    pytest.param(lambda world: world.token(sub="root"), id="against a rule about users"),
    pytest.param(lambda world: world.token(sub=""), id="of a user without a name"),
    pytest.param(lambda world: world.token(team=7), id="with an extra that is no text"),
    pytest.param(lambda world: token(OTHER, "ES256", iss="https://second.example.com", email="x@y", email_verified=False),
                 id="without a verified email"),
    pytest.param(lambda world: "unknown", id="that the webhook does not know"),
])
def test_forged_tokens_are_refused(world: World, forge: Callable[[World], str]) -> None:
    assert world.who(forge(world)) == 401


def test_nobody_is_anonymous_but_where_it_is_allowed(world: World) -> None:
    assert [world.get(path).status_code for path in ("/livez", "/readyz", "/healthz", "/version", "/api")] == [200, 200, 401, 401, 401]


def test_a_webhook_decides_about_what_its_conditions_name(world: World) -> None:
    external = world.external

    def judge(spec: dict[str, Any]) -> dict[str, Any]:
        verb = spec["resourceAttributes"]["verb"]
        return {"allowed": verb == "list", "denied": verb == "delete", "reason": f"{verb}?"}

    external.reviews["SubjectAccessReview"] = judge
    external.asked.clear()
    bearer = world.token()
    assert world.get("/api/v1/namespaces/other/secrets", bearer).status_code == 403
    assert external.asked == []
    selected = "/api/v1/namespaces/judged/secrets?fieldSelector=metadata.name%3Da&labelSelector=x%20in%20(b,a),!y"
    assert world.get(selected, bearer).status_code == 200
    assert external.asked[-1]["resourceAttributes"] == {
        "namespace": "judged", "verb": "list", "version": "v1", "resource": "secrets", "name": "a",
        "fieldSelector": {"requirements": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]},
        "labelSelector": {"requirements": [{"key": "x", "operator": "In", "values": ["a", "b"]}, {"key": "y", "operator": "DoesNotExist"}]}}
    answer = world.get("/api/v1/namespaces/judged/secrets/a", bearer)
    assert (answer.status_code, "get?" in answer.json()["message"]) == (403, True)
    review = {"spec": {"user": "x", "resourceAttributes": {"namespace": "judged", "verb": "delete", "resource": "pods"}}}
    status = world.admin.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review).json()["status"]
    assert status == {"allowed": False, "denied": True, "reason": "delete?"}


def test_configuration_changes_while_the_server_runs(world: World) -> None:
    bearer = world.token()
    assert world.who(bearer)["username"] == "corp:ann"
    gone = world.directory / "gone.kubeconfig"
    gone.write_text(world.kubeconfig.read_text().replace(world.external.url, "https://127.0.0.1:9"))
    (world.directory / "authn.yaml").write_text(authentication(world.external, world.authority, "new:"))
    (world.directory / "authz.yaml").write_text(authorization(gone))
    until(lambda: world.who(bearer)["username"] == "new:ann")
    until(lambda: world.get("/api/v1/namespaces/judged/secrets", bearer).status_code == 500)  # asked in vain
    answer = world.get("/api/v1/namespaces/judged/secrets?limit=1", bearer)
    assert answer.text.startswith('Internal Server Error: "/api/v1/namespaces/judged/secrets?limit=1": Post "https://127.0.0.1:9/review')
    review = {"spec": {"user": "x", "resourceAttributes": {"namespace": "judged", "verb": "delete", "resource": "pods"}}}
    status = world.admin.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review).json()["status"]
    assert (status["allowed"], status["denied"], "127.0.0.1:9" in status["evaluationError"]) == (False, True, True)
    assert world.get("/api/v1/namespaces/other/secrets", bearer).status_code == 403  # the conditions still keep the webhook out of it

    (world.directory / "authn.yaml").write_text(authentication(world.external, "nonsense"))
    (world.directory / "authz.yaml").write_text(authorization(gone).replace("RBAC", "AlwaysAllow"))
    failed = 'apiserver_{}_config_controller_automatic_reloads_total{{status="failure"}}'
    until(lambda: all(failed.format(name) in world.admin.get("/metrics").text for name in ("authentication", "authorization")))
    assert world.who(bearer)["username"] == "new:ann"
    assert world.get("/api/v1/namespaces/other/secrets", bearer).status_code == 403
