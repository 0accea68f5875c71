"""EndpointSlice: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import ENDPOINT_SLICES
from kubepy.apiserver.registry.kind import Kind, Strategy


class EndpointSliceStrategy(Strategy):
    tracks_generation = True


KIND = Kind(
    ENDPOINT_SLICES,
    "endpointslice",
    EndpointSliceStrategy(),
)
