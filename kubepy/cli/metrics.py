"""What makes the metrics server part of the API: its service, its APIService, and who may do what."""
from __future__ import annotations

import base64

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ENDPOINT_SLICES, ROLE_BINDINGS, SERVICES, Resource
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.cli.settings import Settings

API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", False)
USER = "system:metrics-server"
NAMESPACE, NAME = "kube-system", "metrics-server"
RBAC = "rbac.authorization.k8s.io"


def plan_metrics(settings: Settings, authority: bytes, manager: str) -> tuple[tuple[Resource, Object], ...]:
    """`authority` is the PEM of the CA that issued the serving certificate. The daemon runs on the host: no selector."""
    labels = {"k8s-app": NAME, "kubernetes.io/name": "Metrics-server", "kubernetes.io/cluster-service": "true"}
    service: Object = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": settings.metrics_port}]}}
    endpoints: Object = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6" if ":" in settings.address else "IPv4",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {
            SERVICE_LABEL: NAME, "endpointslice.kubernetes.io/managed-by": manager}},
        "endpoints": [{"addresses": [settings.address], "conditions": {"ready": True}, "nodeName": settings.node_name}],
        "ports": [{"name": "https", "port": settings.metrics_port, "protocol": "TCP"}]}
    api: Object = {
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io", "labels": {"k8s-app": NAME}},
        "spec": {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                 "caBundle": base64.b64encode(authority).decode(), "service": {"name": NAME, "namespace": NAMESPACE, "port": 443}}}
    reader: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "system:aggregated-metrics-reader", "labels": {
            f"{RBAC}/aggregate-to-{role}": "true" for role in ("admin", "edit", "view")}},
        "rules": [{"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}]}
    role: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": USER},
        "rules": [{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
                  {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}]}
    return (
        (CLUSTER_ROLES, reader), (CLUSTER_ROLES, role), (CLUSTER_ROLE_BINDINGS, _binding("ClusterRoleBinding", USER, "ClusterRole", USER)),
        (CLUSTER_ROLE_BINDINGS, _binding("ClusterRoleBinding", "metrics-server:system:auth-delegator", "ClusterRole",
                                         "system:auth-delegator")),
        (ROLE_BINDINGS, _binding("RoleBinding", "metrics-server-auth-reader", "Role", "extension-apiserver-authentication-reader")),
        (SERVICES, service), (ENDPOINT_SLICES, endpoints), (API_SERVICES, api))


def _binding(kind: str, name: str, role_kind: str, role: str) -> Object:
    return {"apiVersion": f"{RBAC}/v1", "kind": kind,
            "metadata": {"name": name, **({"namespace": NAMESPACE} if kind == "RoleBinding" else {})},
            "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": USER}]}
