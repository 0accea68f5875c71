"""VolumeAttributesClass: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class VolumeAttributesClassStrategy(Strategy):
    returns_deleted = True


KIND = Kind(
    Resource("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", False),
    "volumeattributesclass",
    VolumeAttributesClassStrategy(),
    short_names=("vac",),
)
