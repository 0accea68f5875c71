"""Role: what may be done in one namespace."""
from __future__ import annotations

from kubepy.api.resource import ROLES
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.rbac.rule import RoleStrategy

KIND = Kind(ROLES, "role", RoleStrategy())
