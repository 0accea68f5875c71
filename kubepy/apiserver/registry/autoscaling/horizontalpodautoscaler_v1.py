"""HorizontalPodAutoscaler of autoscaling/v1: CPU alone; stored as v2 (see `conversion`)."""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.autoscaling import horizontalpodautoscaler as v2
from kubepy.apiserver.registry.autoscaling.conversion import ANNOTATIONS, HorizontalPodAutoscalerConversion
from kubepy.apiserver.registry.kind import STATUS, Column, Kind, Strategy
from kubepy.apiserver.request import Context

_CONVERSION = HorizontalPodAutoscalerConversion()


class HorizontalPodAutoscalerStrategy(Strategy):
    has_status = True

    def fill(self, obj: Object) -> None:
        """The defaults of v2, seen from v1."""
        full = _CONVERSION.to_stored(obj)
        v2.KIND.strategy.fill(full)
        back = _CONVERSION.from_stored(full)
        obj.clear()
        obj.update(back)

    def validate(self, context: Context, obj: Object) -> Errors:
        return v2.KIND.strategy.validate(context, _CONVERSION.to_stored(obj))

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return v2.KIND.strategy.validate_status(context, _CONVERSION.to_stored(obj), old)


def _converted(shown: Column) -> Column:
    cell = shown.cell
    return Column(shown.name, shown.type, shown.description, lambda obj, now: cell(_cpu_first(obj), now), shown.format, shown.priority)


def _cpu_first(obj: Object) -> Object:
    """As v2, the goal of v1 before the other metrics: the order in which their current values are listed."""
    full = _CONVERSION.to_stored(obj)
    metrics = full["spec"].get("metrics") or []
    if (obj.get("spec") or {}).get("targetCPUUtilizationPercentage") is not None:
        full["spec"]["metrics"] = [metrics[-1], *metrics[:-1]]
    return full


KIND: Kind = Kind(
    Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True),
    "horizontalpodautoscaler",
    HorizontalPodAutoscalerStrategy(),
    columns=tuple(_converted(shown) for shown in v2.COLUMNS),
    short_names=("hpa",),
    categories=("all",),
    subresources=(STATUS,),
    stored_as=v2.KIND.resource,
    conversion=_CONVERSION,
    derived_annotations=ANNOTATIONS,
)
