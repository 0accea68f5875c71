"""CronJob: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CRON_JOBS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class CronJobStrategy(Strategy):
    has_status = True
    tracks_generation = True


KIND = Kind(
    CRON_JOBS,
    "cronjob",
    CronJobStrategy(),
    short_names=("cj",),
    categories=("all",),
    subresources=(STATUS,),
)
