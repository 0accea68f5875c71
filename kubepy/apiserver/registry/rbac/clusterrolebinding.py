"""ClusterRoleBinding: gives a ClusterRole everywhere."""
from __future__ import annotations

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.rbac.rule import CLUSTER_ROLE, BindingStrategy, binding_columns


class ClusterRoleBindingStrategy(BindingStrategy):
    role_kinds = ("ClusterRole",)
    namespaced = False


KIND = Kind(CLUSTER_ROLE_BINDINGS, "clusterrolebinding", ClusterRoleBindingStrategy(),
            binding_columns("clusterRoleBinding", CLUSTER_ROLE))
