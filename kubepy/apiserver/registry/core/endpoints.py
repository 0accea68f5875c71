"""Endpoints: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import ENDPOINTS
from kubepy.apiserver.registry.kind import Kind, Strategy


class EndpointsStrategy(Strategy):
    allow_create_on_update = True


KIND = Kind(
    ENDPOINTS,
    "endpoints",
    EndpointsStrategy(),
    short_names=("ep",),
)
