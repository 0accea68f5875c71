"""DaemonSet: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import DAEMON_SETS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class DaemonSetStrategy(Strategy):
    has_status = True
    tracks_generation = True


KIND = Kind(
    DAEMON_SETS,
    "daemonset",
    DaemonSetStrategy(),
    short_names=("ds",),
    categories=("all",),
    subresources=(STATUS,),
)
