"""What the Ingress controller of `kubepy up --ingress` needs in the cluster: its class, the default one, and its rights."""
from __future__ import annotations

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, INGRESS_CLASSES, Resource
from kubepy.api.types import Object

USER = "system:kubepy-ingress"
NAME = "kubepy:ingress"
RBAC = "rbac.authorization.k8s.io"


def plan_ingress() -> tuple[tuple[Resource, Object], ...]:
    """Secrets are read in every namespace because Ingresses name them in every namespace."""
    found: Object = {
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": "nginx", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "kubepy.io/ingress-nginx"}}
    role: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": NAME},
        "rules": [{"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "ingressclasses"], "verbs": ["list", "watch"]},
                  {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["patch"]},
                  {"apiGroups": [""], "resources": ["services", "secrets"], "verbs": ["list", "watch"]},
                  {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
                  {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]}
    binding: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": USER}]}
    return (CLUSTER_ROLES, role), (CLUSTER_ROLE_BINDINGS, binding), (INGRESS_CLASSES, found)
