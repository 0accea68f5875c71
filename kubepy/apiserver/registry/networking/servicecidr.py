"""ServiceCIDR: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class ServiceCIDRStrategy(Strategy):
    has_status = True


KIND = Kind(
    Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False),
    "servicecidr",
    ServiceCIDRStrategy(),
    subresources=(STATUS,),
)
