"""The default storage class, and the rights of who provisions it."""
from __future__ import annotations

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, STORAGE_CLASSES, Resource
from kubepy.api.types import Object
from kubepy.controllers.localpath.plan import PROVISIONER
from kubepy.controllers.localpath.reconcile import ACCOUNT

RBAC = "rbac.authorization.k8s.io"
ROLE = "kubepy:local-path"
REMOVER = "kubepy:local-path-remover"


def plan_storage() -> tuple[tuple[Resource, Object], ...]:
    """Claims wait for their first consumer, so that a directory is made on the node where the pod will be."""
    storage_class: Object = {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete", "allowVolumeExpansion": True}
    role: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": ROLE}, "rules": [
            {"apiGroups": [""], "resources": ["persistentvolumes"],
             "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "update", "watch"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["patch", "update"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]}]}
    binding: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"kind": "ServiceAccount", "namespace": "kube-system", "name": ACCOUNT}]}
    remover: Object = {  # at kubelets the manager shows its certificate: a node must not get a token of the provisioner's
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": REMOVER},
        "rules": [{"apiGroups": [""], "resources": ["nodes/localvolumes"], "verbs": ["delete"]}]}
    manager: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": REMOVER},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": REMOVER},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "system:kube-controller-manager"}]}
    return ((CLUSTER_ROLES, role), (CLUSTER_ROLE_BINDINGS, binding), (CLUSTER_ROLES, remover), (CLUSTER_ROLE_BINDINGS, manager),
            (STORAGE_CLASSES, storage_class))
