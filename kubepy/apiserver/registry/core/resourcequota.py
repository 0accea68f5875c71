"""ResourceQuota: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import RESOURCE_QUOTAS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class ResourceQuotaStrategy(Strategy):
    has_status = True
    returns_deleted = True


KIND = Kind(
    RESOURCE_QUOTAS,
    "resourcequota",
    ResourceQuotaStrategy(),
    short_names=("quota",),
    subresources=(STATUS,),
)
