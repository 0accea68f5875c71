"""HorizontalPodAutoscaler: replicas by load (`pkg/registry/autoscaling/horizontalpodautoscaler`); autoscaling/v2 is what is stored."""
from __future__ import annotations

from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.autoscaling.hpa_validation import autoscaler_spec
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, UNKNOWN, UNSET, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_PERCENT = {"type": "Percent", "value": 100, "periodSeconds": 15}
_PODS = {"type": "Pods", "value": 4, "periodSeconds": 15}


class HorizontalPodAutoscalerStrategy(Strategy):
    has_status = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("minReplicas", 1)
        if not spec.get("metrics"):
            spec["metrics"] = [{"type": "Resource",
                                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]
        behavior = spec.get("behavior")
        if behavior is not None:
            up, down = behavior.get("scaleUp"), behavior.get("scaleDown")
            if "scaleUp" in behavior or "scaleDown" in behavior:
                behavior["scaleUp"] = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [dict(_PODS), dict(_PERCENT)],
                                       **(up or {})}
                behavior["scaleDown"] = {"selectPolicy": "Max", "policies": [dict(_PERCENT)], **(down or {})}

    def validate(self, context: Context, obj: Object) -> Errors:
        return autoscaler_spec(obj.get("spec") or {})

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.counts(obj.get("status") or {}, Path("status"), "currentReplicas", "desiredReplicas")


def _reference(obj: Object) -> str:
    target = at(obj, "spec.scaleTargetRef", {})
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _targets(obj: Object) -> str:
    """formatHPAMetrics: two at most."""
    specs = at(obj, "spec.metrics", [])
    statuses = at(obj, "status.currentMetrics", [])
    if not specs:
        return NONE
    shown = [_metric(spec, statuses[position] if position < len(statuses) else {}) for position, spec in enumerate(specs)]
    if len(shown) > 2:
        return f"{', '.join(shown[:2])} + {len(shown) - 2} more..."
    return ", ".join(shown)


def _metric(spec: Object, status: Object) -> str:
    kind = spec.get("type", "")
    source = {"External": "external", "Pods": "pods", "Object": "object", "Resource": "resource", "ContainerResource": "containerResource"}
    key = source.get(kind)
    if key is None or spec.get(key) is None:
        return "<unknown type>"
    target, current = spec[key].get("target") or {}, at(status, f"{key}.current", {})
    if key in ("resource", "containerResource"):
        title = f"{spec[key].get('name', '')}: "
        if target.get("averageValue") is not None:
            return f"{title}{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        now = current.get("averageUtilization")
        wanted = target.get("averageUtilization")
        return f"{title}{UNKNOWN if now is None else f'{now}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if target.get("averageValue") is not None:
        suffix = "" if key == "pods" else " (avg)"
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{suffix}"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', UNSET)}"


COLUMNS = (
    NAME,
    column("Reference", "string", "=autoscaling.v2.HorizontalPodAutoscalerSpec.scaleTargetRef", _reference),
    column("Targets", "string", "=autoscaling.v2.HorizontalPodAutoscalerSpec.metrics", _targets),
    column("MinPods", "string", "=autoscaling.v2.HorizontalPodAutoscalerSpec.minReplicas",
           lambda obj: str(at(obj, "spec.minReplicas", UNSET))),
    column("MaxPods", "string", "=autoscaling.v2.HorizontalPodAutoscalerSpec.maxReplicas", lambda obj: at(obj, "spec.maxReplicas", 0)),
    column("Replicas", "string", "=autoscaling.v2.HorizontalPodAutoscalerStatus.currentReplicas",
           lambda obj: at(obj, "status.currentReplicas", 0)),
    AGE,
)

KIND: Kind = Kind(
    Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True),
    "horizontalpodautoscaler",
    HorizontalPodAutoscalerStrategy(),
    columns=COLUMNS,
    short_names=("hpa",),
    categories=("all",),
    subresources=(STATUS,),
)
