"""Job: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import JOBS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class JobStrategy(Strategy):
    has_status = True
    tracks_generation = True
    default_propagation = "Orphan"


KIND = Kind(
    JOBS,
    "job",
    JobStrategy(),
    categories=("all",),
    subresources=(STATUS,),
)
