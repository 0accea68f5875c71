"""StorageClass: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import STORAGE_CLASSES
from kubepy.apiserver.registry.kind import Kind, Strategy


class StorageClassStrategy(Strategy):
    returns_deleted = True


KIND = Kind(
    STORAGE_CLASSES,
    "storageclass",
    StorageClassStrategy(),
    short_names=("sc",),
)
