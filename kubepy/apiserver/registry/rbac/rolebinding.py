"""RoleBinding: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import ROLE_BINDINGS
from kubepy.apiserver.registry.kind import Kind, Strategy


class RoleBindingStrategy(Strategy):
    allow_create_on_update = True
    name_kind = "path"


KIND = Kind(
    ROLE_BINDINGS,
    "rolebinding",
    RoleBindingStrategy(),
)
