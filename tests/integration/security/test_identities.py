"""Every identity against every resource of a real server: what it has no right to is refused, whatever the verb.

The requests are made from discovery, so a resource that is added later is tried, too.
"""
from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from kubepy.cli.pki import Pki, ensure_pki
from tests.apiserver import ApiServer

pytestmark = pytest.mark.etcd

REVIEWS = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    pki = ensure_pki(tmp_path_factory.mktemp("pki"), node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    flags = ("--authorization-mode=Node,RBAC", f"--client-ca-file={pki.ca.cert}", "--enable-admission-plugins=NodeRestriction")
    with ApiServer(*flags) as server:
        admin = client(server, token=server.token)
        resources = discover(admin)
        admin.post("/api/v1/namespaces/default/secrets", json={"metadata": {"name": "prize"}}).raise_for_status()
        admin.post("/api/v1/nodes", json={"metadata": {"name": "n2"}}).raise_for_status()
        yield server, pki, resources
        admin.close()


def client(server: ApiServer, *, token: str = "", pki: Pki | None = None, name: str = "") -> httpx.Client:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pki is not None:
        pair = pki.pair(name)
        context.load_cert_chain(Path(pair.cert), Path(pair.key))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=server.url, verify=context, headers=headers, timeout=30)


def discover(admin: httpx.Client) -> list[tuple[str, dict]]:
    groups = admin.get("/apis").json()["groups"]
    versions = ["/api/v1"] + [f"/apis/{version['groupVersion']}" for group in groups for version in group["versions"]]
    return [(path, resource) for path in versions for resource in admin.get(path).json()["resources"]]


def requests(resources: list[tuple[str, dict]]) -> list[tuple[str, str, str, str]]:
    """(resource, verb, method, path) for every verb of every resource, in the namespace default where there is one."""
    found = []
    methods = {"list": "GET", "create": "POST", "deletecollection": "DELETE", "get": "GET", "update": "PUT", "patch": "PATCH",
               "delete": "DELETE"}
    for path, resource in resources:
        name, _, subresource = resource["name"].partition("/")
        base = f"{path}/namespaces/default/{name}" if resource["namespaced"] else f"{path}/{name}"
        for verb in resource["verbs"]:
            if verb not in methods:
                continue
            one = verb in ("get", "update", "patch", "delete") or bool(subresource)
            target = f"{base}/prize/{subresource}" if subresource else f"{base}/prize" if one else base
            found.append((resource["name"], verb, methods[verb], target))
    return found


def send(who: httpx.Client, method: str, path: str) -> int:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    return who.request(method, path, content=body, headers={"Content-Type": kind}).status_code


def test_nobody_and_anonymous_get_nothing(world) -> None:
    server, _, resources = world
    for token in ("", "nobodytoken"):
        with client(server, token=token) as who:
            let_in = [(resource, verb) for resource, verb, method, path in requests(resources) if send(who, method, path) not in (403, 401)]
        assert [item for item in let_in if not (token and item[0] in REVIEWS)] == []


NODE_MAY = {
    # resource: verbs that may be anything but refused for an object the node has nothing to do with
    "certificatesigningrequests": {"create", "get", "list"}, "csidrivers": {"get", "list"}, "endpoints": {"get"},
    "events": {"create", "update", "patch"}, "localsubjectaccessreviews": {"create"}, "nodes": {"create", "update", "patch"},
    "nodes/status": {"update", "patch"}, "pods": {"create", "delete"}, "pods/eviction": {"create"}, "pods/status": {"update", "patch"},
    "resourceslices": {"create"}, "runtimeclasses": {"get", "list"}, "services": {"get", "list"}, "subjectaccessreviews": {"create"},
    "tokenreviews": {"create"}, **{name: {"create"} for name in REVIEWS},
}


SCHEDULER_MUST_NOT = ("secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "roles", "clusterroles", "rolebindings",
                      "clusterrolebindings", "pods/exec", "pods/attach", "nodes/proxy", "certificatesigningrequests/approval",
                      "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "customresourcedefinitions", "deployments")


def test_the_scheduler_schedules_and_does_not_rule(world) -> None:
    server, pki, resources = world
    with client(server, pki=pki, name="scheduler") as who:
        let_in = {resource for resource, verb, method, path in requests(resources) if send(who, method, path) not in (403, 401)}
        assert let_in & set(SCHEDULER_MUST_NOT) == set()
        assert {"pods", "nodes", "pods/binding"} <= let_in


@pytest.mark.parametrize("path", [
    "/api/v1/namespaces/default/../../../api/v1/secrets", "/api/v1/secrets/", "//api/v1/secrets", "/api/v1/./secrets", "/api//v1/secrets",
    "/api/v1/namespaces/default/secrets%2fprize", "/api/v1/%73ecrets", "/API/v1/secrets", "/healthz/../api/v1/secrets",
    "/version/../api/v1/namespaces/default/secrets/prize", "/api/v1/watch/secrets", "/api/v1/proxy/nodes/n2",
    "/openapi/v2/../../api/v1/secrets",
])
def test_tricks_with_paths_open_nothing(world, path: str) -> None:
    server, _, _ = world
    for token in ("", "nobodytoken"):
        with client(server, token=token) as who:
            request = who.build_request("GET", "/")
            request.url = request.url.copy_with(raw_path=path.encode())
            answer = who.send(request)
        assert answer.status_code in (301, 401, 403, 404, 400)
        assert "prize" not in answer.text.replace(path, "") or answer.status_code == 403


def test_a_certificate_of_another_authority_is_not_believed(world, tmp_path: Path) -> None:
    server, _, _ = world
    other = ensure_pki(tmp_path / "pki", node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    try:
        with client(server, pki=other, name="admin") as who:
            assert send(who, "GET", "/api/v1/secrets") in (401, 403)
    except httpx.TransportError:
        pass  # the handshake itself fails
