"""ClusterRoleBinding: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS
from kubepy.apiserver.registry.kind import Kind, Strategy


class ClusterRoleBindingStrategy(Strategy):
    allow_create_on_update = True
    name_kind = "path"


KIND = Kind(
    CLUSTER_ROLE_BINDINGS,
    "clusterrolebinding",
    ClusterRoleBindingStrategy(),
)
