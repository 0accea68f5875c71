"""The roles and bindings that every v1.36 cluster starts with (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`), as tables.

A line of a table is `verbs | groups | resources [| names]`, or `verbs | /paths`. Words are separated by spaces; `core` is the core
group, `READ`, `WRITE` and `ALL` stand for verbs, `EVENTS` for the rule that lets a component record events.
"""
from __future__ import annotations

from collections.abc import Mapping

from kubepy.api.types import Object
from kubepy.apiserver.authz import bootstrap_gated as gated
from kubepy.apiserver.authz.bootstrap_controllers import CONTROLLERS
from kubepy.base.gate import DEFAULT, Gates

_VERBS = {"READ": ["get", "list", "watch"], "WRITE": ["create", "delete", "deletecollection", "patch", "update"],
          "ALL": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]}
_EVENTS = "create patch update | core events.k8s.io | events"
_GROUP = "rbac.authorization.k8s.io"
_API_VERSION = f"{_GROUP}/v1"
LABEL = "kubernetes.io/bootstrapping"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"

_NODE = """
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews
READ | core | services
create get list watch | core | nodes
patch update | core | nodes/status
patch update | core | nodes
create delete get list watch | core | pods
patch update | core | pods/status
create | core | pods/eviction
get list watch | core | configmaps secrets
get | core | persistentvolumeclaims persistentvolumes
get | core | endpoints
create get list watch | certificates.k8s.io | certificatesigningrequests
create delete get patch update | coordination.k8s.io | leases
get | storage.k8s.io | volumeattachments
create | core | serviceaccounts/token
get patch update | core | persistentvolumeclaims/status
READ | storage.k8s.io | csidrivers
create delete get patch update | storage.k8s.io | csinodes
READ | node.k8s.io | runtimeclasses
get | resource.k8s.io | resourceclaims
create delete deletecollection get list patch update watch | resource.k8s.io | resourceslices
EVENTS
"""

_CLUSTER_ROLES = {
    "cluster-admin": """
        * | * | *
        * | *
        """,
    "system:discovery": "get | /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    "system:monitoring": "get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",
    "system:public-info-viewer": "get | /healthz /livez /readyz /version /version/",
    "system:basic-user": """
        create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews
        create | authentication.k8s.io | selfsubjectreviews
        """,
    "system:heapster": """
        READ | core | events namespaces nodes pods
        READ | extensions | deployments
        """,
    "system:node": _NODE,
    "system:node-problem-detector": """
        get | core | nodes
        patch | core | nodes/status
        EVENTS
        """,
    "system:node-proxier": """
        list watch | core | endpoints services
        get list watch | core | nodes
        EVENTS
        list watch | discovery.k8s.io | endpointslices
        list watch | networking.k8s.io | servicecidrs
        """,
    "system:kubelet-api-admin": """
        READ | core | nodes
        proxy | core | nodes
        * | core | nodes/log nodes/metrics nodes/proxy nodes/stats
        * | core | nodes/configz nodes/healthz nodes/pods
        """,
    "system:node-bootstrapper": "create get list watch | certificates.k8s.io | certificatesigningrequests",
    "system:auth-delegator": """
        create | authentication.k8s.io | tokenreviews
        create | authorization.k8s.io | subjectaccessreviews
        """,
    "system:kube-aggregator": "READ | core | endpoints services",
    "system:kube-controller-manager": """
        EVENTS
        create | coordination.k8s.io | leases
        get list update watch | coordination.k8s.io | leases | kube-controller-manager
        ALL | coordination.k8s.io | leasecandidates
        create | core | secrets serviceaccounts
        delete | core | secrets
        get | core | configmaps namespaces secrets serviceaccounts
        update | core | secrets serviceaccounts
        create | authentication.k8s.io | tokenreviews
        create | authorization.k8s.io | subjectaccessreviews
        list watch | * | *
        create | core | serviceaccounts/token
        """,
    "system:kube-dns": "list watch | core | endpoints services",
    "system:persistent-volume-provisioner": """
        create delete get list watch | core | persistentvolumes
        get list update watch | core | persistentvolumeclaims
        READ | storage.k8s.io | storageclasses
        watch | core | events
        EVENTS
        """,
    "system:service-account-issuer-discovery":
        "get | /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
    "system:kube-scheduler": """
        EVENTS
        create | coordination.k8s.io | leases
        get list update watch | coordination.k8s.io | leases | kube-scheduler
        ALL | coordination.k8s.io | leasecandidates
        READ | core | nodes
        delete get list watch | core | pods
        create | core | bindings pods/binding
        patch update | core | pods/status
        READ | core | replicationcontrollers services
        READ | apps extensions | replicasets
        READ | apps | statefulsets
        READ | policy | poddisruptionbudgets
        READ | core | persistentvolumeclaims persistentvolumes
        create | authentication.k8s.io | tokenreviews
        create | authorization.k8s.io | subjectaccessreviews
        READ | storage.k8s.io | csinodes
        READ | core | namespaces
        READ | storage.k8s.io | csidrivers
        READ | storage.k8s.io | csistoragecapacities
        READ | storage.k8s.io | volumeattachments
        READ | resource.k8s.io | deviceclasses
        READ | resource.k8s.io | resourceclaims
        patch update | resource.k8s.io | resourceclaims
        patch update | resource.k8s.io | resourceclaims/status
        patch update | resource.k8s.io | resourceclaims/binding
        READ | resource.k8s.io | resourceslices
        create delete | resource.k8s.io | resourceclaims
        update | core | pods/finalizers
        """,
    "system:volume-scheduler": """
        get list patch update watch | core | persistentvolumes
        READ | storage.k8s.io | storageclasses
        get list patch update watch | core | persistentvolumeclaims
        """,
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient":
        "create | certificates.k8s.io | certificatesigningrequests/nodeclient",
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient":
        "create | certificates.k8s.io | certificatesigningrequests/selfnodeclient",
    **{f"system:certificates.k8s.io:{signer}-approver": f"approve | certificates.k8s.io | signers | kubernetes.io/{signer}"
       for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")},
    "system:aggregate-to-admin": """
        create | authorization.k8s.io | localsubjectaccessreviews
        ALL | rbac.authorization.k8s.io | rolebindings roles
        """,
    "system:aggregate-to-edit": """
        READ | core | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy
        impersonate | core | serviceaccounts
        WRITE | core | pods pods/attach pods/exec pods/portforward pods/proxy
        create | core | pods/eviction
        WRITE | core | configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy
        create | core | serviceaccounts/token
        WRITE | core events.k8s.io | events
        WRITE | apps | daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale
        WRITE | autoscaling | horizontalpodautoscalers
        WRITE | batch | cronjobs jobs
        WRITE | extensions | daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale
        WRITE | policy | poddisruptionbudgets
        WRITE | networking.k8s.io | ingresses networkpolicies
        ALL | coordination.k8s.io | leases
        WRITE | resource.k8s.io | resourceclaims resourceclaimtemplates
        """,  # noqa: E501
    "system:aggregate-to-view": """
        READ | core | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status
        READ | core | bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status
        READ | core | namespaces
        READ | core events.k8s.io | events
        READ | discovery.k8s.io | endpointslices
        READ | apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status
        READ | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status
        READ | batch | cronjobs cronjobs/status jobs jobs/status
        READ | extensions | daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale
        READ | policy | poddisruptionbudgets poddisruptionbudgets/status
        READ | networking.k8s.io | ingresses ingresses/status networkpolicies
        READ | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates
        """,  # noqa: E501
}

_AGGREGATED = {"admin": "", "edit": "admin", "view": "edit"}
"""A user-facing role gathers the roles labelled for it and is itself gathered by the next one."""

_CLUSTER_BINDINGS = {
    "cluster-admin": "Group system:masters",
    "system:monitoring": "Group system:monitoring",
    "system:discovery": "Group system:authenticated",
    "system:basic-user": "Group system:authenticated",
    "system:public-info-viewer": "Group system:authenticated, Group system:unauthenticated",
    "system:node-proxier": "User system:kube-proxy",
    "system:kube-controller-manager": "User system:kube-controller-manager",
    "system:kube-dns": "ServiceAccount kube-system/kube-dns",
    "system:kube-scheduler": "User system:kube-scheduler",
    "system:volume-scheduler": "User system:kube-scheduler",
    "system:service-account-issuer-discovery": "Group system:serviceaccounts",
    "system:node": "",
}

_LEADER = """
create get list update watch | coordination.k8s.io | leases
create get list update watch | coordination.k8s.io | leasecandidates
"""

_ROLES = {
    ("kube-system", "extension-apiserver-authentication-reader"): "READ | core | configmaps | extension-apiserver-authentication",
    ("kube-system", "system::leader-locking-kube-controller-manager"): _LEADER,
    ("kube-system", "system::leader-locking-kube-scheduler"): _LEADER,
    ("kube-system", "system:controller:bootstrap-signer"): "READ | core | secrets",
    ("kube-system", "system:controller:cloud-provider"): "create get list watch | core | configmaps",
    ("kube-system", "system:controller:token-cleaner"): """
        delete get list watch | core | secrets
        EVENTS
        """,
    ("kube-public", "system:controller:bootstrap-signer"): """
        READ | core | configmaps
        update | core | configmaps | cluster-info
        EVENTS
        """,
}

_ROLE_BINDINGS = {
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader", "User system:kube-controller-manager, User system:kube-scheduler"),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager", "User system:kube-controller-manager, "
        "ServiceAccount kube-system/kube-controller-manager, ServiceAccount kube-system/leader-election-controller"),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler", "User system:kube-scheduler, ServiceAccount kube-system/kube-scheduler"),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer", "ServiceAccount kube-system/bootstrap-signer"),
    ("kube-system", "system:controller:cloud-provider"): ("system:controller:cloud-provider", "ServiceAccount kube-system/cloud-provider"),
    ("kube-system", "system:controller:token-cleaner"): ("system:controller:token-cleaner", "ServiceAccount kube-system/token-cleaner"),
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer", "ServiceAccount kube-system/bootstrap-signer"),
}


def parse_rules(table: str) -> list[Object]:
    """The rules of a table."""
    return [_rule(line.strip()) for line in table.strip().splitlines()]


def _rule(line: str) -> Object:
    verbs, *rest = [[word for word in part.split()] for part in (_EVENTS if line == "EVENTS" else line).split("|")]
    expanded = sorted(verb for word in verbs for verb in _VERBS.get(word, [word]))
    if len(rest) == 1:
        return {"verbs": expanded, "nonResourceURLs": rest[0]}
    rule: Object = {"verbs": expanded, "apiGroups": ["" if group == "core" else group for group in rest[0]], "resources": rest[1]}
    if len(rest) == 3:
        rule["resourceNames"] = rest[2]
    return rule


def _of(tables: Mapping[str, Mapping[str, str]], features: Gates) -> dict[str, str]:
    """What the features that are on bring, by name; what several of them say of one name is joined."""
    found: dict[str, str] = {}
    for feature, named in tables.items():
        if features.enabled(feature):
            for name, table in named.items():
                found[name] = f"{found[name]}\n{table}" if name in found else table
    return found


def cluster_roles(features: Gates = DEFAULT) -> list[Object]:
    roles = _cluster_roles({**_CLUSTER_ROLES, **_of(gated.ROLES, features)}, {**CONTROLLERS, **_of(gated.CONTROLLERS, features)})
    for name, table in _of(gated.ADDED, features).items():
        for role in roles:
            if role["metadata"]["name"] == name:
                role["rules"] += parse_rules(table)
    return roles


def node_rules(features: Gates = DEFAULT) -> list[Object]:
    added = _of(gated.ADDED, features).get("system:node")
    return parse_rules(_NODE) + (parse_rules(added) if added else [])


def _cluster_roles(tables: Mapping[str, str], controllers: Mapping[str, str]) -> list[Object]:
    roles = [_object("ClusterRole", name, {"rules": parse_rules(table)}) for name, table in tables.items()]
    for role in roles:
        name = role["metadata"]["name"]
        if name.startswith("system:aggregate-to-"):
            role["metadata"]["labels"][f"{_GROUP}/{name.removeprefix('system:')}"] = "true"
    for name, into in _AGGREGATED.items():
        selector = {"matchLabels": {f"{_GROUP}/aggregate-to-{name}": "true"}}
        role = _object("ClusterRole", name, {"aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": None})
        if into:
            role["metadata"]["labels"][f"{_GROUP}/aggregate-to-{into}"] = "true"
        roles.append(role)
    return roles + [_object("ClusterRole", f"system:controller:{name}", {"rules": parse_rules(table)})
                    for name, table in controllers.items()]


def cluster_role_bindings(features: Gates = DEFAULT) -> list[Object]:
    controllers = (*CONTROLLERS, *_of(gated.CONTROLLERS, features))
    pairs = {**_CLUSTER_BINDINGS, **_of(gated.BINDINGS, features),
             **{f"system:controller:{name}": f"ServiceAccount kube-system/{name}" for name in controllers}}
    return [_binding("ClusterRoleBinding", name, "ClusterRole", name, subjects) for name, subjects in pairs.items()]


def roles() -> list[Object]:
    return [_object("Role", name, {"rules": parse_rules(table)}, namespace) for (namespace, name), table in _ROLES.items()]


def role_bindings() -> list[Object]:
    return [_binding("RoleBinding", name, "Role", role, subjects, namespace)
            for (namespace, name), (role, subjects) in _ROLE_BINDINGS.items()]


def _binding(kind: str, name: str, role_kind: str, role: str, subjects: str, namespace: str = "") -> Object:
    body: Object = {"roleRef": {"apiGroup": _GROUP, "kind": role_kind, "name": role}}
    if subjects:
        body["subjects"] = [_subject(text) for text in subjects.split(", ")]
    return _object(kind, name, body, namespace)


def _subject(text: str) -> Object:
    kind, name = text.split()
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "name": account, "namespace": namespace}
    return {"kind": kind, "apiGroup": _GROUP, "name": name}


def _object(kind: str, name: str, body: Object, namespace: str = "") -> Object:
    metadata: Object = {"name": name, "labels": {LABEL: "rbac-defaults"}, "annotations": {AUTOUPDATE: "true"}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": _API_VERSION, "kind": kind, "metadata": metadata, **body}
