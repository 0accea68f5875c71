"""The other plugins: what they add and what they refuse."""
from __future__ import annotations

import pytest

from kubepy.api.errors import Forbidden, NotFound
from kubepy.api.resource import (
    CONFIGMAPS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
)
from kubepy.apiserver.admission.chain import DEFAULT_ON, PLUGINS, build_chain
from kubepy.apiserver.admission.escalation import RbacEscalation
from kubepy.apiserver.admission.lifecycle import NamespaceLifecycle
from kubepy.apiserver.admission.limit_ranger import LimitRanger
from kubepy.apiserver.admission.node_restriction import NodeRestriction, may_set
from kubepy.apiserver.admission.pod_default import DefaultTolerationSeconds, RuntimeClass
from kubepy.apiserver.admission.priority import Priority
from kubepy.apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from kubepy.apiserver.admission.storage import DefaultStorageClass
from kubepy.apiserver.authz.build import Union
from kubepy.apiserver.authz.rbac import Rbac
from kubepy.apiserver.request import User
from tests.unit.apiserver.stores import MemoryStores, attributes, put, services

NODE = User("system:node:n1", "", ("system:nodes", "system:authenticated"))


@pytest.fixture
async def stores():
    found = MemoryStores()
    yield found
    await found.close()


def pod(**spec):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


def test_the_chain_follows_the_flags(stores: MemoryStores) -> None:
    def names(*flags):
        return [plugin.name for plugin in build_chain(services(stores), *flags).plugins if plugin.name]

    assert "NodeRestriction" not in names()
    assert "NodeRestriction" in names(["NodeRestriction"])
    assert "PodSecurity" not in names([], ["PodSecurity", "ValidatingAdmissionWebhook"])
    assert names()[0] == "NamespaceLifecycle"
    assert names()[-1] == "ResourceQuota"
    assert {plugin.name for plugin in PLUGINS} >= DEFAULT_ON
    with pytest.raises(ValueError, match="Nonsense"):
        build_chain(services(stores), ["Nonsense"])


@pytest.mark.parametrize(("status", "error"), [
    pytest.param(None, NotFound, id="missing"),
    pytest.param({"phase": "Active"}, None, id="active"),
    pytest.param({"phase": "Terminating"}, Forbidden, id="going"),
])
async def test_namespaces_take_objects_while_they_live(stores: MemoryStores, status, error) -> None:
    await stores[NAMESPACES].ready()
    if status is not None:
        gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if status["phase"] == "Terminating" else {}
        await put(stores, NAMESPACES, "ns", metadata=gone, status=status)
    request = attributes(CONFIGMAPS, "CREATE", {"metadata": {"name": "c"}})
    if error is None:
        await NamespaceLifecycle(services(stores)).admit(request)
        return
    with pytest.raises(error):
        await NamespaceLifecycle(services(stores)).admit(request)


async def test_limit_ranges_fill_in_and_bound(stores: MemoryStores) -> None:
    await put(stores, LIMIT_RANGES, "l", "ns", spec={"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"},
         "maxLimitRequestRatio": {"cpu": "4"}},
        {"type": "Pod", "max": {"cpu": "2"}}]})
    plugin, request = LimitRanger(services(stores)), attributes(PODS, "CREATE", pod())
    await plugin.admit(request)
    assert request.obj["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}
    assert request.obj["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container c; cpu limit for container c"}
    with pytest.raises(Forbidden, match=r"cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000"):
        await plugin.admit_valid(request)
    big = {"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1500m"}}}
    with pytest.raises(Forbidden, match=r"\[maximum cpu usage per Container is 1, but limit is 1500m, maximum cpu usage per Pod is 2, but"):
        await plugin.admit_valid(attributes(PODS, "CREATE", pod(containers=[big, {**big, "name": "d"}])))


async def test_a_pod_gets_its_service_account_and_token(stores: MemoryStores) -> None:
    await put(stores, SERVICE_ACCOUNTS, "default", "ns", imagePullSecrets=[{"name": "pull"}])
    own = {"name": "own", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}
    request = attributes(PODS, "CREATE", pod(containers=[{"name": "c"}, own]))
    await ServiceAccount(services(stores)).admit(request)
    spec = request.obj["spec"]
    volume = spec["volumes"][0]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert volume["projected"]["sources"][0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert [container["volumeMounts"][0]["name"] for container in spec["containers"]] == [volume["name"], "x"]
    quiet = attributes(PODS, "CREATE", pod(automountServiceAccountToken=False))
    await ServiceAccount(services(stores)).admit(quiet)
    assert "volumes" not in quiet.obj["spec"]
    with pytest.raises(Forbidden, match='error looking up service account ns/robot: serviceaccount "robot" not found'):
        await ServiceAccount(services(stores)).admit(attributes(PODS, "CREATE", pod(serviceAccountName="robot")))


async def test_priority_comes_from_the_class_and_cannot_be_claimed(stores: MemoryStores) -> None:
    await put(stores, PRIORITY_CLASSES, "high", value=1000, preemptionPolicy="Never")
    plugin, request = Priority(services(stores)), attributes(PODS, "CREATE", pod(priorityClassName="high"))
    await plugin.admit(request)
    assert (request.obj["spec"]["priority"], request.obj["spec"]["preemptionPolicy"]) == (1000, "Never")
    for spec, message in (({"priority": 5}, "must not be provided in pod spec"),
                          ({"priorityClassName": "none"}, "no PriorityClass with name none was found")):
        with pytest.raises(Forbidden, match=message):
            await plugin.admit(attributes(PODS, "CREATE", pod(**spec)))


async def test_tolerations_are_added_once(stores: MemoryStores) -> None:
    own = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 5}
    request = attributes(PODS, "CREATE", pod(tolerations=[own]))
    await DefaultTolerationSeconds(services(stores)).admit(request)
    assert [(item["key"], item["tolerationSeconds"]) for item in request.obj["spec"]["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 5), ("node.kubernetes.io/unreachable", 300)]


async def test_the_newest_default_storage_class_wins(stores: MemoryStores) -> None:
    for name, made in (("old", "2026-01-01T00:00:00Z"), ("new", "2026-02-01T00:00:00Z")):
        await put(stores, STORAGE_CLASSES, name, metadata={
            "creationTimestamp": made, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}})
    for given, expected in (({}, "new"), ({"storageClassName": ""}, ""), ({"storageClassName": "x"}, "x")):
        request = attributes(PERSISTENT_VOLUME_CLAIMS, "CREATE", {"metadata": {"name": "c"}, "spec": dict(given)})
        await DefaultStorageClass(services(stores)).admit(request)
        assert request.obj["spec"]["storageClassName"] == expected


async def test_runtime_classes_give_overhead_and_selectors(stores: MemoryStores) -> None:
    await put(stores, RUNTIME_CLASSES, "kata", handler="kata", overhead={"podFixed": {"cpu": "250m"}},
              scheduling={"nodeSelector": {"kata": "yes"}})
    plugin, request = RuntimeClass(services(stores)), attributes(PODS, "CREATE", pod(runtimeClassName="kata"))
    await plugin.admit(request)
    assert (request.obj["spec"]["overhead"], request.obj["spec"]["nodeSelector"]) == ({"cpu": "250m"}, {"kata": "yes"})
    with pytest.raises(Forbidden, match=r"conflict: runtimeClass.scheduling.nodeSelector"):
        await plugin.admit(attributes(PODS, "CREATE", pod(runtimeClassName="kata", nodeSelector={"kata": "no"})))
    with pytest.raises(Forbidden, match="without corresponding RuntimeClass"):
        await plugin.admit_valid(attributes(PODS, "CREATE", pod(overhead={"cpu": "1"})))


@pytest.mark.parametrize(("label", "allowed"), [
    ("example.com/any", True), ("plain", True), ("kubernetes.io/hostname", True), ("node.kubernetes.io/x", True),
    ("sub.kubelet.kubernetes.io/x", True), ("node-restriction.kubernetes.io/tier", False), ("node-role.kubernetes.io/control-plane", False),
    ("kubernetes.io/anything", False), ("foo.k8s.io/x", False), ("notkubernetes.io/x", True)])
def test_labels_a_kubelet_may_set(label: str, allowed: bool) -> None:
    assert may_set(label) is allowed


OTHER_POD = {"metadata": {"name": "p"}, "spec": {"nodeName": "n2"}}


@pytest.mark.parametrize("request_of", [
    pytest.param(lambda: attributes(NODES, "UPDATE", {"metadata": {"name": "n2"}}, {"metadata": {"name": "n2"}}, user=NODE),
                 id="another node"),
    pytest.param(lambda: attributes(NODES, "UPDATE", {"metadata": {"name": "n1"}, "spec": {"taints": []}},
                                    {"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a"}]}}, user=NODE), id="removing its taints"),
    pytest.param(lambda: attributes(PODS, "CREATE", pod(nodeName="n1"), user=NODE), id="a pod that mirrors nothing"),
    pytest.param(lambda: attributes(PODS, "UPDATE", OTHER_POD, OTHER_POD, user=NODE, subresource="status"), id="another's pod status"),
    pytest.param(lambda: attributes(PODS, "UPDATE", OTHER_POD, OTHER_POD, user=NODE, subresource="ephemeralcontainers"),
                 id="ephemeral containers"),
    pytest.param(lambda: attributes(SERVICE_ACCOUNTS, "CREATE", {"spec": {}}, user=NODE, name="robot", subresource="token"),
                 id="a token bound to nothing"),
    pytest.param(lambda: attributes(SERVICE_ACCOUNTS, "CREATE", {"spec": {"boundObjectRef": {
        "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}}}, user=NODE, name="robot", subresource="token"),
                 id="another's pod's token"),
])
async def test_what_a_kubelet_may_not_write(stores: MemoryStores, request_of) -> None:
    await put(stores, PODS, "p", "ns", spec={"nodeName": "n2"})
    with pytest.raises(Forbidden):
        await NodeRestriction(services(stores)).admit(request_of())


def role(*verbs: str):
    return {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}]}


@pytest.mark.parametrize(("rules", "user", "allowed"), [
    pytest.param([], User("bob"), False, id="nothing held"),
    pytest.param([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}], User("bob"), True, id="held"),
    pytest.param([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]}], User("bob"), True,
                 id="escalate"),
    pytest.param([], User("root", "", ("system:masters",)), True, id="masters"),
])
async def test_nobody_grants_what_they_lack(stores: MemoryStores, rules, user: User, allowed: bool) -> None:
    rbac = Rbac()
    rbac.index.set_role("ns", "own", {"rules": rules})
    rbac.index.set_binding("ns", "own", {"roleRef": {"kind": "Role", "name": "own"}, "subjects": [{"kind": "User", "name": "bob"}]})
    rbac.index.set_role("ns", "r", role("get"))
    found = services(stores)
    found.rbac, found.authorizer = rbac, Union([rbac])
    plugin = RbacEscalation(found)
    binding = {"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": []}
    for request in (attributes(ROLES, "CREATE", role("get"), user=user), attributes(ROLE_BINDINGS, "CREATE", binding, user=user)):
        escalates = bool(rules) and rules[0]["verbs"] == ["escalate"] and request.context.kind.resource == ROLE_BINDINGS
        if allowed and not escalates:
            await plugin.admit(request)
        else:
            with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
                await plugin.admit(request)
