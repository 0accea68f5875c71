"""ClusterRole: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CLUSTER_ROLES
from kubepy.apiserver.registry.kind import Kind, Strategy


class ClusterRoleStrategy(Strategy):
    allow_create_on_update = True
    name_kind = "path"


KIND = Kind(
    CLUSTER_ROLES,
    "clusterrole",
    ClusterRoleStrategy(),
)
