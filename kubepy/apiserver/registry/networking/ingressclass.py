"""IngressClass: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class IngressClassStrategy(Strategy):
    tracks_generation = True


KIND = Kind(
    Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False),
    "ingressclass",
    IngressClassStrategy(),
)
