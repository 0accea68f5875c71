"""The Node authorizer: a kubelet sees what its pods need and nothing else."""
from __future__ import annotations

import pytest

from kubepy.apiserver.authz.graph import Graph
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.node import NodeAuthorizer
from kubepy.apiserver.request import User

N1 = User("system:node:n1", "", ("system:nodes", "system:authenticated"))
N2 = User("system:node:n2", "", ("system:nodes", "system:authenticated"))


@pytest.fixture
def node() -> NodeAuthorizer:
    graph = Graph()
    graph.set_pod("ns", "p", {"metadata": {"name": "p"}, "spec": {
        "nodeName": "n1", "serviceAccountName": "robot", "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
        "containers": [{"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]}],
        "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "scratch", "ephemeral": {}},
                    {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}]}}]}})
    graph.set_volume("pv", {"spec": {"claimRef": {"namespace": "ns", "name": "data"},
                                     "csi": {"nodeStageSecretRef": {"namespace": "storage", "name": "stage"}}}})
    graph.set_attachment("va", {"spec": {"nodeName": "n1"}})
    return NodeAuthorizer(graph)


def ask(user: User, verb: str, what: str, namespace: str = "", name: str = "", *, group: str = "", selector: str = "") -> Access:
    resource, _, subresource = what.partition("/")
    return Access(user, verb, group, "v1", resource, subresource, namespace, name, field_selector=selector)


STORAGE = "storage.k8s.io"


@pytest.mark.parametrize(("access", "allowed"), [
    *[pytest.param(ask(N1, "get", "secrets", "ns", name), True, id=f"secret {name}") for name in ("pull", "env", "projected")],
    pytest.param(ask(N1, "watch", "configmaps", "ns", "settings"), True, id="a configmap of an init container"),
    pytest.param(ask(N1, "get", "secrets", "storage", "stage"), True, id="a secret of a bound volume"),
    pytest.param(ask(N1, "get", "persistentvolumeclaims", "ns", "data"), True, id="a claim"),
    pytest.param(ask(N1, "get", "persistentvolumeclaims", "ns", "p-scratch"), True, id="the claim of an ephemeral volume"),
    pytest.param(ask(N1, "get", "persistentvolumes", "", "pv"), True, id="the claim's volume"),
    pytest.param(ask(N1, "get", "volumeattachments", "", "va", group=STORAGE), True, id="its attachment"),
    pytest.param(ask(N1, "create", "serviceaccounts/token", "ns", "robot"), True, id="a token of its pod's account"),
    pytest.param(ask(N1, "create", "serviceaccounts/token", "ns", "default"), False, id="a token of another account"),
    pytest.param(ask(N1, "list", "pods", selector="spec.nodeName=n1"), True, id="its pods"),
    pytest.param(ask(N1, "list", "pods", selector="spec.nodeName!=n1"), False, id="all but its pods"),
    pytest.param(ask(N1, "list", "pods", selector="spec.nodeName=n11"), False, id="a node of a longer name"),
    pytest.param(ask(N1, "list", "secrets", "ns"), False, id="all secrets"),
    pytest.param(ask(N1, "get", "secrets", "other", "env"), False, id="a namesake elsewhere"),
    pytest.param(ask(N1, "update", "secrets", "ns", "env"), False, id="writing a secret"),
    pytest.param(ask(N1, "get", "pods", "ns", "p"), True, id="its pod"),
    pytest.param(ask(N1, "get", "nodes", "", "n1"), True, id="itself"),
    pytest.param(ask(N1, "get", "nodes", "", "n2"), False, id="another node"),
    pytest.param(ask(N1, "delete", "nodes", "", "n1"), False, id="deleting itself"),
    pytest.param(ask(N1, "update", "leases", "kube-node-lease", "n1", group="coordination.k8s.io"), True, id="its lease"),
    pytest.param(ask(N1, "update", "leases", "kube-system", "kube-scheduler", group="coordination.k8s.io"), False,
                 id="the scheduler's lease"),
    pytest.param(ask(N1, "get", "csinodes", "", "n2", group=STORAGE), False, id="another CSINode"),
    pytest.param(ask(N1, "create", "certificatesigningrequests", group="certificates.k8s.io"), True, id="asking for a certificate"),
    pytest.param(ask(N1, "update", "certificatesigningrequests/approval", "", "x", group="certificates.k8s.io"), False, id="approving it"),
    pytest.param(ask(N2, "get", "secrets", "ns", "env"), False, id="another node's secret"),
    pytest.param(ask(N2, "get", "persistentvolumes", "", "pv"), False, id="another node's volume"),
    pytest.param(ask(User("system:node:n1"), "get", "secrets", "ns", "env"), False, id="a node's name without the group"),
    pytest.param(ask(User("root", "", ("system:nodes",)), "get", "secrets", "ns", "env"), False, id="the group without a node's name"),
    pytest.param(ask(User("system:node:", "", ("system:nodes",)), "get", "secrets", "ns", "env"), False, id="a node without a name"),
])
async def test_what_a_node_may(node: NodeAuthorizer, access: Access, allowed: bool) -> None:
    assert (await node.authorize(access)).allowed is allowed


async def test_rights_go_with_the_pod_and_stay_while_another_needs_them(node: NodeAuthorizer) -> None:
    access = ask(N1, "get", "secrets", "ns", "env")
    twin = {"metadata": {"name": "q"}, "spec": {"nodeName": "n1", "volumes": [{"name": "v", "secret": {"secretName": "env"}}]}}
    node.graph.set_pod("ns", "q", twin)
    node.graph.set_pod("ns", "p", None)
    assert (await node.authorize(access)).allowed
    node.graph.set_pod("ns", "q", {**twin, "spec": {**twin["spec"], "nodeName": "n2"}})
    assert not (await node.authorize(access)).allowed
    assert (await node.authorize(ask(N2, "get", "secrets", "ns", "env"))).allowed
