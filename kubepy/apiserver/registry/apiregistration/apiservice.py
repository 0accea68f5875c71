"""APIService: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class APIServiceStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    name_kind = "path"


KIND = Kind(
    Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", False),
    "apiservice",
    APIServiceStrategy(),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
