"""CSIDriver: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CSI_DRIVERS
from kubepy.apiserver.registry.kind import Kind, Strategy


class CSIDriverStrategy(Strategy):
    allow_unconditional_update = False
    returns_deleted = True


KIND = Kind(
    CSI_DRIVERS,
    "csidriver",
    CSIDriverStrategy(),
)
