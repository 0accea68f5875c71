"""Every identity against every resource of a real server: what it has no right to is refused, whatever the verb."""
from __future__ import annotations

import pytest

from tests.integration.security.conftest import World
from tests.integration.security.requests import client, let_in, send

pytestmark = pytest.mark.etcd
REVIEWS = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
ANYBODY = {(name, "create") for name in REVIEWS}


def test_nobody_and_anonymous_get_nothing(world: World) -> None:
    with client(world.server) as who:
        assert let_in(who, world.resources) == set()
    with client(world.server, token="nobodytoken") as who:
        assert let_in(who, world.resources) == ANYBODY


def test_a_service_account_gets_nothing_by_itself(world: World) -> None:
    with client(world.server, token=world.account("default")) as who:
        assert let_in(who, world.resources) == ANYBODY
        assert send(who, "GET", "/.well-known/openid-configuration") == send(who, "GET", "/openid/v1/jwks") == 200


NODE_MAY = {
    # resource: verbs that may be anything but refused for an object the node has nothing to do with
    "certificatesigningrequests": {"create", "get", "list"}, "csidrivers": {"get", "list"}, "csinodes": {"create"},
    "events": {"create", "update", "patch"}, "leases": {"create"}, "localsubjectaccessreviews": {"create"},
    "nodes": {"create", "update", "patch"}, "nodes/status": {"update", "patch"}, "pods": {"create", "delete"}, "pods/eviction": {"create"},
    "pods/status": {"update", "patch"}, "resourceslices": {"create"}, "runtimeclasses": {"get", "list"}, "services": {"get", "list"},
    "subjectaccessreviews": {"create"}, "tokenreviews": {"create"}, "endpoints": {"get"}, "clustertrustbundles": {"get", "list"},
    **{name: {"create"} for name in REVIEWS},
}


def test_a_node_reaches_only_what_is_its_own(world: World) -> None:
    with client(world.server, pki=world.pki, name="kubelet-client") as who:
        assert {(resource, verb) for resource, verb in let_in(who, world.resources) if verb not in NODE_MAY.get(resource, ())} == set()


SCHEDULER_MUST_NOT = ("secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "roles", "clusterroles", "rolebindings",
                      "clusterrolebindings", "pods/exec", "pods/attach", "nodes/proxy", "certificatesigningrequests/approval",
                      "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "customresourcedefinitions", "deployments")


def test_the_scheduler_schedules_and_does_not_rule(world: World) -> None:
    with client(world.server, pki=world.pki, name="scheduler") as who:
        found = {resource for resource, _ in let_in(who, world.resources)}
        assert found & set(SCHEDULER_MUST_NOT) == set()
        assert {"pods", "nodes", "pods/binding"} <= found


def test_the_proxy_and_the_dns_read_services_and_no_more(world: World) -> None:
    for name, may in (("proxy", {"services", "endpoints", "endpointslices", "nodes", "events", "servicecidrs"}),
                      ("dns", {"services", "endpoints", "endpointslices", "namespaces"})):
        with client(world.server, pki=world.pki, name=name) as who:
            found = let_in(who, world.resources) - ANYBODY
            assert {resource for resource, _ in found} <= may
            assert {resource for resource, verb in found if verb not in ("get", "list", "watch")} <= {"events"}


def test_the_controller_manager_does_not_exec_bind_or_escalate(world: World) -> None:
    with client(world.server, pki=world.pki, name="controller-manager") as who:
        found = {resource for resource, verb in let_in(who, world.resources) if verb not in ("list", "get")}
    assert found & {"pods/exec", "pods/attach", "pods/portforward", "nodes/proxy", "roles", "clusterroles", "rolebindings",
                    "clusterrolebindings", "certificatesigningrequests/approval", "nodes", "pods/binding"} == set()


# what makes one rule the cluster or read its secrets, and the controllers that need it
GRAVE = {
    ("secrets", "get"): {"persistent-volume-binder", "expand-controller"},
    ("secrets", "list"): set[str](), ("pods/exec", "create"): set[str](), ("nodes/proxy", "get"): set[str](),
    ("serviceaccounts/token", "create"): set[str](), ("pods/ephemeralcontainers", "update"): set[str](),
    ("clusterrolebindings", "create"): set[str](), ("clusterroles", "update"): {"clusterrole-aggregation-controller"},
    ("clusterroles", "escalate"): {"clusterrole-aggregation-controller"}, ("users", "impersonate"): set[str](),
    ("pods", "create"): {"daemon-set-controller", "job-controller", "replicaset-controller", "replication-controller",
                         "statefulset-controller", "persistent-volume-binder"},
    ("certificatesigningrequests/approval", "update"): {"certificate-controller"},
}
ALL_POWERFUL = {"generic-garbage-collector", "namespace-controller", "resourcequota-controller", "horizontal-pod-autoscaler",
                "disruption-controller"}
"""Controllers with rights over every resource of some verbs, which is their task; they are looked at by verb."""


def test_controllers_have_no_grave_rights_but_those_they_need(world: World) -> None:
    roles = world.admin.get("/apis/rbac.authorization.k8s.io/v1/clusterroles").json()["items"]
    names = [role["metadata"]["name"].removeprefix("system:controller:") for role in roles
             if role["metadata"]["name"].startswith("system:controller:")]
    assert len(names) > 20
    wrong = []
    for name in names:
        for (resource, verb), may in GRAVE.items():
            kind, _, subresource = resource.partition("/")
            group = {"clusterroles": "rbac.authorization.k8s.io", "clusterrolebindings": "rbac.authorization.k8s.io",
                     "certificatesigningrequests": "certificates.k8s.io"}.get(kind, "")
            attributes = {"resource": kind, "subresource": subresource, "verb": verb, "namespace": "default", "group": group}
            spec = {"user": f"system:serviceaccount:kube-system:{name}", "resourceAttributes": attributes}
            answer = world.admin.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json={"spec": spec})
            ruled_by_verb = name in ALL_POWERFUL and verb in ("get", "list", "update", "patch", "delete")
            if answer.json()["status"]["allowed"] and name not in may and not ruled_by_verb:
                wrong.append((name, verb, resource))
    assert wrong == []


@pytest.mark.parametrize("path", [
    "/api/v1/namespaces/default/../../../api/v1/secrets", "/api/v1/secrets/", "//api/v1/secrets", "/api/v1/./secrets", "/api//v1/secrets",
    "/api/v1/namespaces/default/secrets%2fprize", "/api/v1/%73ecrets", "/API/v1/secrets", "/healthz/../api/v1/secrets",
    "/version/../api/v1/namespaces/default/secrets/prize", "/api/v1/watch/secrets", "/api/v1/proxy/nodes/n2",
    "/openapi/v2/../../api/v1/secrets", "/livez/..%2fapi/v1/secrets", "/api/v1/namespaces/default/pods/../secrets/prize",
    "/api/v1/namespaces/default%2f..%2fkube-system/secrets", "/api/v1/namespaces/default/secrets;x/prize",
    "/apis/metrics.k8s.io/../../api/v1/secrets", "/version%00/../api/v1/secrets", "/api/v1/namespaces/default/services/x:443/proxy/../..",
])
def test_tricks_with_paths_open_nothing(world: World, path: str) -> None:
    for token in ("", "nobodytoken"):
        with client(world.server, token=token) as who:
            request = who.build_request("GET", "/")
            request.url = request.url.copy_with(raw_path=path.encode())
            answer = who.send(request)
        assert answer.status_code in (301, 401, 403, 404, 400)
        assert "prize" not in answer.text.replace(path, "") or answer.status_code == 403
