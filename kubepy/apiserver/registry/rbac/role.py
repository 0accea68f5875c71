"""Role: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import ROLES
from kubepy.apiserver.registry.kind import Kind, Strategy


class RoleStrategy(Strategy):
    allow_create_on_update = True
    name_kind = "path"


KIND = Kind(
    ROLES,
    "role",
    RoleStrategy(),
)
