"""Lease: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import LEASES
from kubepy.apiserver.registry.kind import Kind, Strategy


class LeaseStrategy(Strategy):
    allow_create_on_update = True
    allow_unconditional_update = False


KIND = Kind(
    LEASES,
    "lease",
    LeaseStrategy(),
)
