"""RoleBinding: gives a Role, or a ClusterRole within the namespace, to users, groups and service accounts."""
from __future__ import annotations

from kubepy.api.resource import ROLE_BINDINGS
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.rbac.rule import EITHER_ROLE, BindingStrategy, binding_columns

KIND = Kind(ROLE_BINDINGS, "rolebinding", BindingStrategy(), binding_columns("roleBinding", EITHER_ROLE))
