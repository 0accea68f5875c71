"""ResourceClaim: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class ResourceClaimStrategy(Strategy):
    has_status = True
    returns_deleted = True


KIND = Kind(
    Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True),
    "resourceclaim",
    ResourceClaimStrategy(),
    subresources=(STATUS,),
)
