"""ResourceSlice: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class ResourceSliceStrategy(Strategy):
    tracks_generation = True
    returns_deleted = True


KIND = Kind(
    Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False),
    "resourceslice",
    ResourceSliceStrategy(),
)
