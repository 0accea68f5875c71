"""HorizontalPodAutoscaler: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class HorizontalPodAutoscalerStrategy(Strategy):
    has_status = True


KIND = Kind(
    Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True),
    "horizontalpodautoscaler",
    HorizontalPodAutoscalerStrategy(),
    short_names=("hpa",),
    categories=("all",),
    subresources=(STATUS,),
)
