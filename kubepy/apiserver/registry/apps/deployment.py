"""Deployment: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import DEPLOYMENTS
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy


class DeploymentStrategy(Strategy):
    has_status = True
    tracks_generation = True


KIND = Kind(
    DEPLOYMENTS,
    "deployment",
    DeploymentStrategy(),
    short_names=("deploy",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
