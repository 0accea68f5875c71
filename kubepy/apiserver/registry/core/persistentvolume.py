"""PersistentVolume: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import PERSISTENT_VOLUMES
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class PersistentVolumeStrategy(Strategy):
    has_status = True
    returns_deleted = True


KIND = Kind(
    PERSISTENT_VOLUMES,
    "persistentvolume",
    PersistentVolumeStrategy(),
    short_names=("pv",),
    subresources=(STATUS,),
)
