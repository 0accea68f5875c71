"""Attempts to be somebody else, or to get more than one has: forged tokens, smuggled headers, other nodes' objects, escalation."""
from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from kubepy.cli.pki import ensure_pki
from tests.integration.security.conftest import World
from tests.integration.security.issuer import External
from tests.integration.security.requests import client, send

pytestmark = pytest.mark.etcd
RBAC = "/apis/rbac.authorization.k8s.io/v1"
STRANGER = RSAKey.generate_key(2048)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (json.loads(base64.urlsafe_b64decode(piece + "==")) for piece in token.split(".")[:2])
    return header, claims


def signed(world: World, header: dict[str, Any] | None = None, key: RSAKey | None = None, **claims: Any) -> str:
    """A token of the account `prize` with changed claims, signed with the server's own key unless another is given."""
    own_header, own = opened(world.account("prize"))
    key = key or RSAKey.import_key((world.server.directory / "sa.key").read_bytes())
    return jws.serialize_compact({**own_header, **(header or {})}, json.dumps({**own, **claims}).encode(), key)


def unsigned(world: World, algorithm: str) -> str:
    header, claims = opened(world.account("prize"))
    return f"{part({**header, 'alg': algorithm})}.{part(claims)}."


def symmetric(world: World) -> str:
    """The public key, which anyone can read, as a shared secret."""
    header, claims = opened(world.account("prize"))
    public = RSAKey.import_key((world.server.directory / "sa.key").read_bytes()).as_pem(private=False)
    text = f"{part({**header, 'alg': 'HS256'})}.{part(claims)}"
    return f"{text}.{part(hmac.digest(public, text.encode(), 'sha256'))}"


def embedded(world: World) -> str:
    """The forger's key in the header."""
    return signed(world, {"jwk": STRANGER.as_dict(private=False), "jku": "https://evil.example.com/keys"}, STRANGER)


def after(world: World, resource: str, made: dict[str, Any], **reference: Any) -> str:
    """A token bound to an object that is then deleted."""
    path = f"/api/v1/namespaces/default/{resource}"
    uid = world.admin.post(path, json=made).json()["metadata"]["uid"]
    token = world.account("prize", boundObjectRef={"apiVersion": "v1", "name": made["metadata"]["name"], "uid": uid, **reference})
    world.admin.delete(f"{path}/{made['metadata']['name']}", params={"gracePeriodSeconds": 0}).raise_for_status()
    return token


def private(**changes: Any) -> dict[str, Any]:
    return {"namespace": "kube-system", "serviceaccount": {"name": "admin", "uid": "x"}, **changes}


NOW = int(time.time())
GONE = {"metadata": {"name": "gone"}}


@pytest.mark.parametrize("forge", [
    pytest.param(lambda world: unsigned(world, "none"), id="alg none"),
    pytest.param(lambda world: unsigned(world, "NoNe"), id="alg none, spelt otherwise"),
    pytest.param(lambda world: unsigned(world, "RS256"), id="no signature"),
    pytest.param(symmetric, id="the public key as a secret"),
    pytest.param(lambda world: signed(world, key=STRANGER), id="another key"),
    pytest.param(embedded, id="the key in the header"),
    pytest.param(lambda world: signed(world, {"kid": "../../dev/null"}, STRANGER), id="a key that is a path"),
    pytest.param(lambda world: signed(world, iss="https://evil.example.com"), id="another issuer"),
    pytest.param(lambda world: signed(world, aud=["vault"]), id="another audience"),
    pytest.param(lambda world: signed(world, exp=NOW - 3600), id="expired"),
    pytest.param(lambda world: signed(world, exp="9999999999"), id="an expiry that is text"),
    pytest.param(lambda world: signed(world, nbf=NOW + 3600), id="not yet good"),
    pytest.param(lambda world: signed(world, sub="system:serviceaccount:kube-system:default"), id="another subject than its account"),
    pytest.param(lambda world: signed(world, **{"kubernetes.io": private(), "sub": "system:serviceaccount:kube-system:admin"}),
                 id="an account that is not there"),
    pytest.param(lambda world: after(world, "secrets", GONE, kind="Secret"), id="bound to a secret that is gone"),
    pytest.param(lambda world: world.account("prize", audiences=["vault"]), id="a real one for somebody else"),
    pytest.param(lambda world: world.account("prize")[:-4], id="a cut one"),
    pytest.param(lambda world: world.account("prize") + "x", id="a longer one"),
    pytest.param(lambda world: "x" * 60_000, id="a very long one"),
])
def test_forged_tokens_are_refused(world: World, forge: Callable[[World], str]) -> None:
    with client(world.server, token=forge(world)) as who:
        assert send(who, "GET", "/api") == 401


def test_a_deleted_accounts_token_ends(world: World) -> None:
    token = world.account("leaver")
    world.admin.delete("/api/v1/namespaces/default/serviceaccounts/leaver").raise_for_status()
    world.account("leaver")  # another account of the same name is somebody else
    with client(world.server, token=token) as who:
        assert send(who, "GET", "/api") == 401


def test_certificates_of_other_authorities_are_refused(world: World, tmp_path: Path) -> None:
    other = ensure_pki(tmp_path / "pki", node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    for pki, name in ((other, "admin"), (other, "front-proxy-client"), (world.pki, "apiserver"), (world.pki, "etcd/server"),
                      (world.pki, "front-proxy-client")):
        with client(world.server, pki=pki, name=name) as who:
            assert send(who, "GET", "/api/v1/secrets") == 401, name


MASTERS = {"X-Remote-User": "root", "X-Remote-Group": "system:masters"}


@pytest.mark.parametrize(("name", "headers", "code"), [
    pytest.param("front-proxy-client", {"X-Remote-User": "ann", "X-Remote-Group": "g"}, 403, id="the front proxy speaks for somebody"),
    pytest.param("front-proxy-client", MASTERS, 200, id="the front proxy speaks for anybody"),
    pytest.param("admin", {"X-Remote-User": "nobody"}, 200, id="an admin stays himself"),
    pytest.param("scheduler", MASTERS, 403, id="headers of somebody who is no proxy"),
    pytest.param("", MASTERS, 403, id="headers without a certificate"),
    pytest.param("", {"X_Remote_User": "root", "X_Remote_Group": "system:masters"}, 403, id="headers with other dashes"),
    pytest.param("front-proxy-client", {"X-Remote-Group": "system:masters"}, 401, id="a group without a user"),
])
def test_the_front_proxys_headers_count_from_the_front_proxy_only(world: World, name: str, headers: dict[str, str], code: int) -> None:
    with client(world.server, pki=world.pki if name else None, name=name, headers=headers) as who:
        assert send(who, "GET", "/api/v1/secrets") == code


def test_nothing_is_smuggled_through_the_aggregator(world: World, tmp_path: Path) -> None:
    admin = world.admin
    with External(world.pki) as external:
        external.documents["/apis/smuggle.example.com/v1"] = {"kind": "APIResourceList", "apiVersion": "v1", "resources": []}
        external.documents["/apis/smuggle.example.com/v1/things"] = {"kind": "ThingList"}
        port = int(external.url.rpartition(":")[2])
        admin.post("/api/v1/namespaces/default/services", json={"metadata": {"name": "smuggle"}, "spec": {
            "type": "ExternalName", "externalName": "127.0.0.1"}}).raise_for_status()
        admin.post("/apis/apiregistration.k8s.io/v1/apiservices", json={"metadata": {"name": "v1.smuggle.example.com"}, "spec": {
            "group": "smuggle.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": True, "service": {"namespace": "default", "name": "smuggle", "port": port}}}).raise_for_status()
        end = time.monotonic() + 40
        while (answer := admin.get("/apis/smuggle.example.com/v1/things")).status_code != 200:
            assert time.monotonic() < end, answer.text
            time.sleep(0.2)
        role = {"metadata": {"name": "smuggle"}, "rules": [{"apiGroups": ["smuggle.example.com"], "resources": ["*"], "verbs": ["*"]}]}
        admin.post(f"{RBAC}/clusterroles", json=role).raise_for_status()
        admin.post(f"{RBAC}/clusterrolebindings", json={"metadata": {"name": "smuggle"}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "smuggle"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}]}).raise_for_status()
        smuggled = {**MASTERS, "X-Remote-Uid": "0", "X-Remote-Extra-Scopes": "all", "x-remote-group": "system:masters",
                    "Connection": "X-Remote-User, X-Remote-Group, close", "X-Forwarded-For": "10.0.0.1"}
        external.seen.clear()
        end = time.monotonic() + 20
        with client(world.server, token="nobodytoken", headers=smuggled) as who:
            while send(who, "GET", "/apis/smuggle.example.com/v1/things") != 200:  # until the binding is known
                assert time.monotonic() < end
                time.sleep(0.1)
        headers = [(key.lower(), value) for key, value in external.seen[-1]]
        assert sorted(pair for pair in headers if pair[0].startswith("x-remote-")) == [
            ("x-remote-group", "somebodies"), ("x-remote-group", "system:authenticated"), ("x-remote-uid", "nobody"),
            ("x-remote-user", "nobody")]
        assert "authorization" not in dict(headers)
        admin.delete("/apis/apiregistration.k8s.io/v1/apiservices/v1.smuggle.example.com").raise_for_status()


def pod(node: str = "", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "new", "annotations": {"kubernetes.io/config.mirror": "x"}},
            "spec": {"containers": [{"name": "c", "image": "i"}], **({"nodeName": node} if node else {}), **spec}}


LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ESCAPED = "metadata.name!=a\\,spec.nodeName=n1"


@pytest.mark.parametrize(("method", "path", "body"), [
    ("GET", "/api/v1/namespaces/default/secrets/theirs", None), ("GET", "/api/v1/namespaces/default/secrets/prize", None),
    ("GET", "/api/v1/namespaces/default/secrets", None), ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Dtheirs", None),
    ("GET", "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dtheirs&watch=1", None),
    ("GET", "/api/v1/namespaces/default/pods/theirs", None), ("GET", "/api/v1/pods", None),
    ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", None), ("GET", "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1", None),
    ("GET", f"/api/v1/pods?fieldSelector={ESCAPED.replace('=', '%3D').replace(chr(92), '%5C')}", None),
    ("GET", "/api/v1/namespaces/default/pods/theirs/log", None), ("POST", "/api/v1/namespaces/default/pods/mine/exec?command=id", {}),
    ("GET", "/api/v1/nodes", None), ("GET", "/api/v1/nodes/n2", None), ("PATCH", "/api/v1/nodes/n2", {"metadata": {"labels": {"a": "b"}}}),
    ("PATCH", "/api/v1/nodes/n2/status", {"status": {}}), ("DELETE", "/api/v1/nodes/n1", None), ("DELETE", "/api/v1/nodes/n2", None),
    ("PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}),
    ("PATCH", "/api/v1/nodes/n1", {"spec": {"taints": []}, "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
    ("POST", "/api/v1/nodes", {"metadata": {"name": "n3"}}), ("GET", "/api/v1/nodes/n2/proxy/pods", None),
    ("POST", "/api/v1/namespaces/default/pods", pod()), ("POST", "/api/v1/namespaces/default/pods", pod("n2")),
    ("POST", "/api/v1/namespaces/default/pods", pod("n1", serviceAccountName="prize")),
    ("POST", "/api/v1/namespaces/default/pods", pod("n1", volumes=[{"name": "v", "secret": {"secretName": "prize"}}])),
    ("POST", "/api/v1/namespaces/default/pods", {**pod("n1"), "metadata": {"name": "no-mirror"}}),
    ("DELETE", "/api/v1/namespaces/default/pods/theirs", None), ("PATCH", "/api/v1/namespaces/default/pods/theirs/status", {"status": {}}),
    ("POST", "/api/v1/namespaces/default/pods/theirs/eviction", {"metadata": {"name": "theirs"}}),
    ("POST", "/api/v1/namespaces/default/serviceaccounts/theirs/token", {}),
    ("POST", "/api/v1/namespaces/default/serviceaccounts/mine/token", {}),
    ("POST", "/api/v1/namespaces/kube-system/serviceaccounts/default/token", {}),
    ("POST", LEASE, {"metadata": {"name": "n2"}}), ("GET", f"{LEASE}/n2", None), ("GET", LEASE, None),
    ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler", None),
    ("POST", "/apis/storage.k8s.io/v1/csinodes", {"metadata": {"name": "n2"}, "spec": {"drivers": []}}),
    ("POST", "/apis/resource.k8s.io/v1/resourceslices", {"metadata": {"name": "s"}, "spec": {
        "driver": "d.example.com", "nodeName": "n2", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}}),
    ("GET", "/apis/resource.k8s.io/v1/resourceslices", None), ("GET", "/api/v1/configmaps", None),
    ("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", None),
    ("POST", f"{RBAC}/clusterrolebindings", {}), ("PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", {}),
])
def test_a_node_is_kept_from_others(world: World, method: str, path: str, body: Any) -> None:
    with client(world.server, pki=world.pki, name="kubelet-client") as who:
        assert send(who, method, path, body) == 403


def test_a_node_gets_what_its_pods_use(world: World) -> None:
    with client(world.server, pki=world.pki, name="kubelet-client") as who:
        assert [send(who, "GET", path) for path in (
            "/api/v1/namespaces/default/secrets/mine", "/api/v1/namespaces/default/pods/mine", "/api/v1/nodes/n1",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")] == [200, 200, 200, 200]


def grant(world: World, name: str, *rules: dict[str, Any]) -> str:
    """A service account with just these rights; its token."""
    token = world.account(name)
    world.admin.post(f"{RBAC}/clusterroles", json={"metadata": {"name": name}, "rules": rules}).raise_for_status()
    world.admin.post(f"{RBAC}/clusterrolebindings", json={
        "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]}).raise_for_status()
    return token


def rule(resources: str, verbs: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources.split(","), "verbs": verbs.split(","), **more}


@pytest.fixture(scope="module")
def climber(world: World) -> str:
    """Somebody with rights over roles, bindings, pods and accounts, as a careless administrator may give them; none over secrets."""
    return grant(world, "climber",
                 rule("roles,clusterroles,rolebindings,clusterrolebindings", "get,list,create,update,patch", "rbac.authorization.k8s.io"),
                 rule("users", "impersonate", resourceNames=["ann"]), rule("groups", "impersonate", resourceNames=["devs"]),
                 rule("pods", "get,list,patch,update"), rule("serviceaccounts", "get,list,patch"),
                 rule("certificatesigningrequests", "create,get", "certificates.k8s.io"),
                 rule("certificatesigningrequests/approval", "update", "certificates.k8s.io"),
                 rule("namespaces", "get,patch"), rule("nodes", "get"))


def binding(kind: str = "ClusterRole", name: str = "cluster-admin") -> dict[str, Any]:
    return {"metadata": {"name": "up"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "climber", "namespace": "default"}]}


ALL = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


@pytest.mark.parametrize(("method", "path", "body", "headers"), [
    ("POST", f"{RBAC}/clusterrolebindings", binding(), {}), ("POST", f"{RBAC}/namespaces/default/rolebindings", binding(), {}),
    ("POST", f"{RBAC}/clusterrolebindings", binding(name="system:node"), {}),
    ("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "up"}, "rules": ALL}, {}),
    ("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "up"}, "rules": [rule("secrets", "get")]}, {}),
    ("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "up"}, "rules": [
        rule("clusterroles", "escalate", "rbac.authorization.k8s.io")]}, {}),
    ("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "up"}, "aggregationRule": {"clusterRoleSelectors": [{}]}}, {}),
    ("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "up"}, "rules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}]}, {}),
    ("PATCH", f"{RBAC}/clusterroles/climber", {"rules": ALL}, {}),
    ("PATCH", f"{RBAC}/clusterroles/view", {"rules": [rule("secrets", "*")]}, {}),
    ("POST", f"{RBAC}/namespaces/default/roles", {"metadata": {"name": "up"}, "rules": [rule("pods/exec", "create")]}, {}),
    ("PATCH", f"{RBAC}/clusterrolebindings/cluster-admin", {"subjects": binding()["subjects"]}, {}),
    ("GET", "/api/v1/secrets", None, {"Impersonate-User": "root"}), ("GET", "/api/v1/secrets", None, {"Impersonate-User": "ann"}),
    ("GET", "/api/v1/secrets", None, {"Impersonate-User": "ann", "Impersonate-Group": "system:masters"}),
    ("GET", "/api/v1/secrets", None, {"Impersonate-User": "ann", "Impersonate-Group": "devs", "Impersonate-Uid": "1"}),
    ("GET", "/api/v1/secrets", None, {"Impersonate-User": "ann", "Impersonate-Extra-scopes": "all"}),
    ("GET", "/api/v1/secrets", None, {"Impersonate-User": "system:serviceaccount:kube-system:default"}),
    ("GET", "/api/v1/secrets", None, {"Impersonate-User": "system:node:n1", "Impersonate-Group": "system:nodes"}),
    ("GET", "/api/v1/namespaces/default/secrets/mine", None, {"Impersonate-User": "system:node:n1"}),
    ("PATCH", "/api/v1/namespaces/default/pods/theirs/ephemeralcontainers",
     {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}}, {}),
    ("POST", "/api/v1/namespaces/default/pods/theirs/exec?command=id", {}, {}),
    ("GET", "/api/v1/namespaces/default/pods/theirs/log", None, {}), ("GET", "/api/v1/nodes/n1/proxy/pods", None, {}),
    ("POST", "/api/v1/namespaces/kube-system/serviceaccounts/default/token", {}, {}),
    ("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "x"}, "spec": {"containers": []}}, {}),
    ("PUT", "/api/v1/namespaces/kube-system/finalize", {}, {}), ("POST", "/api/v1/namespaces/default/pods/mine/binding", {}, {}),
])
def test_rights_are_not_raised(world: World, climber: str, method: str, path: str, body: Any, headers: dict[str, str]) -> None:
    with client(world.server, token=climber, headers=headers) as who:
        assert send(who, method, path, body) == 403


def test_a_signing_request_is_not_approved_without_the_signer(world: World, climber: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def request(*groups: str) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")] + [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups])
        made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()

    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    signer = "kubernetes.io/kube-apiserver-client"
    with client(world.server, token=climber) as who:
        def ask(*groups: str, **more: Any) -> httpx.Response:
            spec = {"request": request(*groups), "signerName": signer, "usages": ["client auth"], **more}
            return who.post(requests, json={"metadata": {"generateName": "up-"}, "spec": spec})

        assert ask("system:masters").status_code == 403
        made = ask(username="system:admin", groups=["system:masters"])
        assert made.status_code == 201
        assert made.json()["spec"]["username"] == "system:serviceaccount:default:climber"  # who asks is not what one says
        approved = {**made.json(), "status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]}}
        assert send(who, "PUT", f"{requests}/{made.json()['metadata']['name']}/approval", approved) == 403


@pytest.mark.parametrize("path", ["/", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine", "/debug/pprof/heap",
                                  "/debug/pprof/profile?seconds=1", "/metrics"])
def test_the_servers_inside_is_seen_with_rights_only(world: World, path: str) -> None:
    codes = []
    for token in ("", "nobodytoken", world.account("default"), world.server.token):
        with client(world.server, token=token) as who:
            codes.append(send(who, "GET", path))
    assert codes == [403, 403, 403, 200]
    with client(world.server, token="nobodytoken") as who:
        assert who.put("/debug/flags/v", content=b"10").status_code == 403
