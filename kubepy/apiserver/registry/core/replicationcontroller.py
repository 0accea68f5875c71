"""ReplicationController: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import REPLICATION_CONTROLLERS
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy


class ReplicationControllerStrategy(Strategy):
    has_status = True
    tracks_generation = True
    default_propagation = "Orphan"


KIND = Kind(
    REPLICATION_CONTROLLERS,
    "replicationcontroller",
    ReplicationControllerStrategy(),
    short_names=("rc",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
