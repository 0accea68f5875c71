"""CSIStorageCapacity: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CSI_STORAGE_CAPACITIES
from kubepy.apiserver.registry.kind import Kind, Strategy


class CSIStorageCapacityStrategy(Strategy):
    allow_unconditional_update = False


KIND = Kind(
    CSI_STORAGE_CAPACITIES,
    "csistoragecapacity",
    CSIStorageCapacityStrategy(),
)
