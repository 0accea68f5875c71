"""RBAC decisions, the cover check, bootstrap reconciliation, and what a decision costs."""
from __future__ import annotations

import time

import pytest

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from kubepy.apiserver.authz import bootstrap
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.message import forbidden
from kubepy.apiserver.authz.rbac import Rbac
from kubepy.apiserver.authz.reconcile import merge, reconcile_bootstrap
from kubepy.apiserver.authz.rule import describe, uncovered
from kubepy.apiserver.request import User
from kubepy.base.clock import SystemClock, settle
from kubepy.base.task import Tasks
from tests.unit.apiserver.stores import MemoryStores

BOB = User("bob", "", ("devs",))
ROBOT = User("system:serviceaccount:ns:robot")


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "", urls: str = ""):
    found = {"verbs": verbs.split()}
    if urls:
        return {**found, "nonResourceURLs": urls.split()}
    found |= {"apiGroups": ["" if group == "core" else group for group in groups.split()], "resources": resources.split()}
    return {**found, "resourceNames": names.split()} if names else found


def binding(kind: str, role: str, *subjects: str):
    def subject(text: str):
        subject_kind, _, name = text.partition(" ")
        namespace, _, short = name.rpartition("/")
        return {"kind": subject_kind, "name": short, "namespace": namespace}

    return {"roleRef": {"kind": kind, "name": role}, "subjects": [subject(text) for text in subjects]}


@pytest.fixture
def rbac() -> Rbac:
    found = Rbac()
    index = found.index
    index.set_role("", "reader", {"rules": [rule("get list", "core", "pods pods/log"), rule("get", urls="/metrics /logs/*")]})
    index.set_role("", "wild", {"rules": [rule("*", "*", "*"), rule("*", urls="*")]})
    index.set_role("", "scaler", {"rules": [rule("update", "apps", "*/scale"), rule("get", "core", "pods/*")]})
    index.set_role("ns", "one", {"rules": [rule("get update", "core", "configmaps", "mine")]})
    index.set_binding("", "readers", binding("ClusterRole", "reader", "Group devs"))
    index.set_binding("", "roots", binding("ClusterRole", "wild", "User root"))
    index.set_binding("", "scalers", binding("ClusterRole", "scaler", "User bob"))
    index.set_binding("ns", "ones", binding("Role", "one", "User bob", "ServiceAccount robot", "ServiceAccount other/robot"))
    index.set_binding("ns", "viewers", binding("ClusterRole", "wild", "User carol"))
    index.set_binding("ns", "lost", binding("Role", "missing", "User dan"))
    return found


def ask(user: User, verb: str, what: str, *, group: str = "", namespace: str = "", name: str = "") -> Access:
    if what.startswith("/"):
        return Access(user, verb, path=what, is_resource=False)
    resource, _, subresource = what.partition("/")
    return Access(user, verb, group, "v1", resource, subresource, namespace, name)


@pytest.mark.parametrize(("access", "allowed"), [
    pytest.param(ask(BOB, "get", "pods", namespace="ns"), True, id="by a group, everywhere"),
    pytest.param(ask(BOB, "list", "pods"), True, id="across namespaces"),
    pytest.param(ask(BOB, "delete", "pods", namespace="ns"), False, id="another verb"),
    pytest.param(ask(BOB, "get", "pods/log", namespace="ns"), True, id="a subresource that is listed"),
    pytest.param(ask(BOB, "get", "pods/exec", namespace="ns"), False, id="pods/* covers nothing"),
    pytest.param(ask(BOB, "update", "deployments/scale", group="apps"), True, id="*/scale covers every scale"),
    pytest.param(ask(BOB, "update", "deployments", group="apps"), False, id="but not the resource"),
    pytest.param(ask(BOB, "get", "pods", group="metrics.k8s.io"), False, id="another group"),
    pytest.param(ask(BOB, "get", "configmaps", namespace="ns", name="mine"), True, id="a name that is listed"),
    pytest.param(ask(BOB, "get", "configmaps", namespace="ns", name="other"), False, id="another name"),
    pytest.param(ask(BOB, "get", "configmaps", namespace="ns"), False, id="no name"),
    pytest.param(ask(BOB, "get", "configmaps", namespace="other", name="mine"), False, id="another namespace"),
    pytest.param(ask(ROBOT, "get", "configmaps", namespace="ns", name="mine"), True, id="an account of the binding's namespace"),
    pytest.param(ask(User("system:serviceaccount:third:robot"), "get", "configmaps", namespace="ns", name="mine"), False,
                 id="an account of a third namespace"),
    pytest.param(ask(User("root"), "dance", "things/moves", group="x.y", namespace="z"), True, id="stars"),
    pytest.param(ask(User("carol"), "delete", "secrets", namespace="ns"), True, id="a ClusterRole in a namespace"),
    pytest.param(ask(User("carol"), "delete", "secrets"), False, id="and only there"),
    pytest.param(ask(User("carol"), "get", "/metrics"), False, id="paths need a cluster binding"),
    pytest.param(ask(BOB, "get", "/metrics"), True, id="a path"),
    pytest.param(ask(BOB, "get", "/metrics/x"), False, id="not below it"),
    pytest.param(ask(BOB, "get", "/logs/a/b"), True, id="below a star"),
    pytest.param(ask(BOB, "post", "/metrics"), False, id="a path by another method"),
    pytest.param(ask(User("devs"), "get", "pods"), False, id="a user named like the group"),
    pytest.param(ask(User("x", "", ("bob",)), "update", "deployments/scale", group="apps"), False, id="a group named like the user"),
])
def test_decisions(rbac: Rbac, access: Access, allowed: bool) -> None:
    assert rbac.decide(access).allowed is allowed


def test_reasons_name_binding_role_and_subject(rbac: Rbac) -> None:
    assert rbac.decide(ask(BOB, "get", "pods")).reason == (
        'RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "devs"')
    assert rbac.decide(ask(ROBOT, "get", "configmaps", namespace="ns", name="mine")).reason == (
        'RBAC: allowed by RoleBinding "ones/ns" of Role "one" to ServiceAccount "robot/ns"')
    access = ask(User("dan"), "get", "pods", namespace="ns")
    assert forbidden(access, rbac.decide(access).reason).message == (
        'pods is forbidden: User "dan" cannot get resource "pods" in API group "" in the namespace "ns": '
        'RBAC: role.rbac.authorization.k8s.io "missing" not found')


def test_changes_take_effect(rbac: Rbac) -> None:
    access, index = ask(BOB, "get", "pods"), rbac.index
    assert rbac.decide(access).allowed
    index.set_role("", "reader", {"rules": [rule("list", "core", "pods")]})
    assert not rbac.decide(access).allowed
    index.set_role("", "reader", {"rules": [rule("get", "core", "pods")]})
    assert rbac.decide(access).allowed
    index.set_binding("", "readers", binding("ClusterRole", "reader", "Group others"))
    assert not rbac.decide(access).allowed
    index.set_binding("", "readers", binding("ClusterRole", "reader", "User bob"))
    assert rbac.decide(access).allowed
    index.set_role("", "reader", None)
    assert not rbac.decide(access).allowed
    index.set_binding("", "readers", None)
    assert rbac.decide(access).reason == ""


def test_what_is_gone_leaves_nothing_behind(rbac: Rbac) -> None:
    index = rbac.index
    rbac.decide(ask(BOB, "get", "pods", namespace="ns"))
    for namespace, names in (("", ("readers", "roots", "scalers")), ("ns", ("ones", "viewers", "lost"))):
        for name in names:
            index.set_binding(namespace, name, None)
    assert [index._bindings, index._by_subject, index._by_role, index._tables] == [{}, {}, {}, {}]


@pytest.mark.parametrize(("owner", "servant", "missing"), [
    pytest.param([rule("get list", "core", "pods")], [rule("get", "core", "pods")], [], id="less"),
    pytest.param([rule("get", "core", "pods"), rule("list", "core", "pods")], [rule("get list", "core", "pods")], [], id="by two rules"),
    pytest.param([rule("get", "core", "pods", "a")], [rule("get", "core", "pods")], ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'],
                 id="names limit"),
    pytest.param([rule("get", "core", "pods")], [rule("get", "core", "pods", "a")], [], id="all names cover one"),
    pytest.param([rule("*", "*", "*")], [rule("*", "*", "*/scale")], [], id="stars cover"),
    pytest.param([rule("get", "core", "*/log")], [rule("get", "core", "pods/log pods/exec")],
                 ['{APIGroups:[""], Resources:["pods/exec"], Verbs:["get"]}'], id="a subresource star"),
    pytest.param([rule("get", urls="/a/*")], [rule("get", urls="/a/b")], [], id="a path below"),
    pytest.param([rule("get", urls="/a/b")], [rule("get", urls="/a/*")], ['{NonResourceURLs:["/a/*"], Verbs:["get"]}'], id="a star above"),
    pytest.param([], [rule("get list", "core", "pods")],
                 ['{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}'], id="verbs together"),
])
def test_rights_cover_other_rights(owner, servant, missing: list[str]) -> None:
    assert describe(uncovered(owner, servant)) == missing


async def test_bootstrap_roles_are_made_repaired_and_fed_to_the_index() -> None:
    stores, tasks, rbac = MemoryStores(), Tasks("test"), Rbac()
    try:
        await reconcile_bootstrap(stores, SystemClock())
        rbac.start(stores, tasks)
        await rbac.ready()
        scheduler = User("system:kube-scheduler", "", ("system:authenticated",))
        assert rbac.decide(ask(scheduler, "create", "pods/binding", namespace="ns")).allowed
        assert not rbac.decide(ask(scheduler, "create", "secrets", namespace="ns")).allowed

        async def strip(entry):
            return {**entry.decode(), "rules": [{"verbs": ["get"], "apiGroups": ["own"], "resources": ["things"]}]}

        await stores[CLUSTER_ROLES].update("", "system:kube-scheduler", strip)
        await settle()
        assert not rbac.decide(ask(scheduler, "create", "pods/binding", namespace="ns")).allowed
        await reconcile_bootstrap(stores, SystemClock())
        await settle()
        assert rbac.decide(ask(scheduler, "create", "pods/binding", namespace="ns")).allowed
        assert rbac.decide(ask(scheduler, "get", "things", group="own")).allowed, "what an administrator added stays"
        revision = (await stores[CLUSTER_ROLES].list(None)).revision
        await reconcile_bootstrap(stores, SystemClock())
        assert (await stores[CLUSTER_ROLES].list(None)).revision == revision, "nothing to do writes nothing"
    finally:
        await tasks.stop()
        await stores.close()


def test_an_object_that_opted_out_is_left_alone() -> None:
    wanted = bootstrap.cluster_role_bindings()[0]
    have = {**wanted, "subjects": [], "metadata": {**wanted["metadata"], "annotations": {bootstrap.AUTOUPDATE: "false"}}}
    assert merge(have, wanted) is None


def test_every_binding_names_a_role_that_exists() -> None:
    cluster = {role["metadata"]["name"] for role in bootstrap.cluster_roles()}
    assert {item["roleRef"]["name"] for item in bootstrap.cluster_role_bindings()} <= cluster
    names = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in bootstrap.roles()}
    assert {(item["metadata"]["namespace"], item["roleRef"]["name"]) for item in bootstrap.role_bindings()} <= names
    assert {ROLES.plural, ROLE_BINDINGS.plural, CLUSTER_ROLE_BINDINGS.plural} == {"roles", "rolebindings", "clusterrolebindings"}


def test_a_decision_does_not_grow_with_a_thousand_roles_and_bindings() -> None:
    rbac = Rbac()
    for number in range(1000):
        rbac.index.set_role("", f"role-{number}", {"rules": [rule("get list watch", f"group-{number}", "things others")]})
        rbac.index.set_binding("", f"binding-{number}", binding("ClusterRole", f"role-{number}", "User bob", f"User user-{number}"))
    access = ask(BOB, "get", "secrets", namespace="ns")
    rbac.decide(access)
    began = time.process_time()
    for _ in range(1000):
        rbac.decide(access)
    assert (time.process_time() - began) / 1000 < 100e-6, "a refusal costs microseconds, not a walk over all bindings"
