"""ClusterRole: what may be done everywhere, on paths, or wherever a RoleBinding gives it; may gather the rules of others."""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import CLUSTER_ROLES
from kubepy.api.types import Object
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.rbac.rule import RoleStrategy, aggregation_problems
from kubepy.apiserver.request import Context


class ClusterRoleStrategy(RoleStrategy):
    namespaced = False

    def validate(self, context: Context, obj: Object) -> Errors:
        return super().validate(context, obj) + aggregation_problems(obj.get("aggregationRule"))


KIND = Kind(CLUSTER_ROLES, "clusterrole", ClusterRoleStrategy())
