"""Service: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import SERVICES
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource


class ServiceStrategy(Strategy):
    allow_create_on_update = True
    has_status = True
    returns_deleted = True
    name_kind = "label"


KIND = Kind(
    SERVICES,
    "service",
    ServiceStrategy(),
    short_names=("svc",),
    categories=("all",),
    subresources=(Subresource("proxy", ("create", "delete", "get", "patch", "update"), "ServiceProxyOptions"), STATUS),
)
