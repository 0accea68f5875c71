"""Ingress: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import INGRESSES
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class IngressStrategy(Strategy):
    has_status = True
    tracks_generation = True


KIND = Kind(
    INGRESSES,
    "ingress",
    IngressStrategy(),
    short_names=("ing",),
    subresources=(STATUS,),
)
