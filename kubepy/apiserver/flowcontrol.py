"""The priority levels and flow schemas every cluster has (`k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap`). Facts as a table."""
from __future__ import annotations

from typing import Any

from kubepy.api.resource import Resource
from kubepy.api.types import Object

LEVELS = Resource("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", False)
SCHEMAS = Resource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", False)
_AUTO = {"apf.kubernetes.io/autoupdate-spec": "true"}


def _level(name: str, shares: int, lendable: int, queues: int = 0, hand: int = 0, limit: int = 0) -> Object:
    response: Object = {"type": "Reject"}
    if queues:
        response = {"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": limit}}
    limited: Object = {"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable}
    return {"metadata": {"name": name, "annotations": dict(_AUTO)}, "spec": {"type": "Limited", "limited": limited}}


def priority_levels() -> list[Object]:
    exempt: Object = {"metadata": {"name": "exempt", "annotations": dict(_AUTO)},
                      "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}}
    return [exempt, _level("catch-all", 5, 0), _level("system", 30, 33, 64, 6, 50), _level("node-high", 40, 25, 64, 6, 50),
            _level("leader-election", 10, 0, 16, 4, 50), _level("workload-high", 40, 50, 128, 6, 50),
            _level("workload-low", 100, 90, 128, 6, 50), _level("global-default", 20, 50, 128, 6, 50)]


def _groups(*names: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[Object]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _accounts(namespace: str, *names: str) -> list[Object]:
    return [{"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}} for name in names]


_ANY: Object = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
_ANY_PATH: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}


def _rule(subjects: list[Object], resources: list[Object] | None = None, paths: list[Object] | None = None) -> Object:
    rule: dict[str, Any] = {"subjects": subjects}
    if resources is None and paths is None:
        resources, paths = [_ANY], [_ANY_PATH]
    if resources:
        rule["resourceRules"] = resources
    if paths:
        rule["nonResourceRules"] = paths
    return rule


def _schema(name: str, level: str, precedence: int, distinguisher: str, *rules: Object) -> Object:
    spec: Object = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": list(rules)}
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    return {"metadata": {"name": name, "annotations": dict(_AUTO)}, "spec": spec}


def _on(verbs: list[str], groups: list[str], resources: list[str], namespaces: list[str], *, cluster: bool = False) -> Object:
    rule: Object = {"verbs": verbs, "apiGroups": groups, "resources": resources, "namespaces": namespaces}
    return {**rule, "clusterScope": True} if cluster else rule


def flow_schemas() -> list[Object]:
    everybody = _groups("system:unauthenticated", "system:authenticated")
    nodes = _groups("system:nodes")
    leases = _on(["get", "create", "update"], ["coordination.k8s.io"], ["leases"], ["*"])
    return [
        _schema("exempt", "exempt", 1, "", _rule(_groups("system:masters"))),
        _schema("catch-all", "catch-all", 10000, "ByUser", _rule(everybody)),
        _schema("probes", "exempt", 2, "", _rule(everybody, paths=[
            {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}])),
        _schema("system-leader-election", "leader-election", 100, "ByUser", _rule(
            _users("system:kube-controller-manager", "system:kube-scheduler") + _accounts("kube-system", "*"),
            [_on(["get", "create", "update"], ["coordination.k8s.io"], ["leases"], ["kube-system"])])),
        _schema("endpoint-controller", "workload-high", 150, "ByUser", _rule(
            _users("system:kube-controller-manager") + _accounts("kube-system", "endpoint-controller", "endpointslicemirroring-controller"),
            [_on(["get", "create", "update"], [""], ["endpoints"], ["*"])])),
        _schema("workload-leader-election", "leader-election", 200, "ByUser", _rule(_accounts("kube-system", "*"), [leases])),
        _schema("system-node-high", "node-high", 400, "ByUser", _rule(nodes, [
            _on(["*"], [""], ["nodes", "nodes/status"], ["*"], cluster=True),
            _on(["*"], ["coordination.k8s.io"], ["leases"], ["*"])])),
        _schema("system-nodes", "system", 500, "ByUser", _rule(nodes)),
        _schema("kube-controller-manager", "workload-high", 800, "ByNamespace", _rule(_users("system:kube-controller-manager"))),
        _schema("kube-scheduler", "workload-high", 800, "ByNamespace", _rule(_users("system:kube-scheduler"))),
        _schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", _rule(_accounts("kube-system", "*"))),
        _schema("service-accounts", "workload-low", 9000, "ByUser", _rule(_groups("system:serviceaccounts"))),
        _schema("global-default", "global-default", 9900, "ByUser", _rule(everybody)),
    ]
