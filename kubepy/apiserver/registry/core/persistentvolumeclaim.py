"""PersistentVolumeClaim: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class PersistentVolumeClaimStrategy(Strategy):
    has_status = True
    returns_deleted = True


KIND = Kind(
    PERSISTENT_VOLUME_CLAIMS,
    "persistentvolumeclaim",
    PersistentVolumeClaimStrategy(),
    short_names=("pvc",),
    subresources=(STATUS,),
)
