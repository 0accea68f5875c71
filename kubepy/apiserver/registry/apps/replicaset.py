"""ReplicaSet: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import REPLICA_SETS
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy


class ReplicaSetStrategy(Strategy):
    has_status = True
    tracks_generation = True


KIND = Kind(
    REPLICA_SETS,
    "replicaset",
    ReplicaSetStrategy(),
    short_names=("rs",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
