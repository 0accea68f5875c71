"""Between autoscaling/v1 and v2: what v1 has no field for travels in annotations (`pkg/apis/autoscaling/v1/conversion.go`)."""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.types import Object

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS, _CURRENT = f"{_PREFIX}metrics", f"{_PREFIX}current-metrics"
_CONDITIONS, _BEHAVIOR = f"{_PREFIX}conditions", f"{_PREFIX}behavior"
ANNOTATIONS = (_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR)
_RULES = (("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown"))
_RULE_FIELDS = (("StabilizationWindowSeconds", "stabilizationWindowSeconds"), ("SelectPolicy", "selectPolicy"), ("Policies", "policies"),
                ("Tolerance", "tolerance"))
_CONDITION_FIELDS = ("type", "status", "lastTransitionTime", "reason", "message")
_POLICY_FIELDS = (("Type", "type"), ("Value", "value"), ("PeriodSeconds", "periodSeconds"))


class HorizontalPodAutoscalerConversion:
    """v1 is served, v2 is stored."""

    def to_stored(self, obj: Object) -> Object:
        found = {**obj, "apiVersion": "autoscaling/v2", "metadata": {**obj["metadata"]}, "spec": {**(obj.get("spec") or {})}}
        annotations = dict(found["metadata"].get("annotations") or {})
        extra = {key: _parsed(annotations.pop(key, None)) for key in ANNOTATIONS}
        _set(found["metadata"], "annotations", annotations)
        spec = found["spec"]
        percentage = spec.pop("targetCPUUtilizationPercentage", None)
        metrics = [_metric_from_v1(metric) for metric in extra[_METRICS] or ()]
        if percentage is not None:
            metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization",
                                                                                       "averageUtilization": percentage}}})
        _set(spec, "metrics", metrics)
        if extra[_BEHAVIOR]:
            spec["behavior"] = _behavior_from_go(extra[_BEHAVIOR])
        status = {**(obj.get("status") or {})}
        current = status.pop("currentCPUUtilizationPercentage", None)
        statuses = [_current_from_v1(metric) for metric in extra[_CURRENT] or ()]
        if current is not None and not any(at.get("type") == "Resource" and (at.get("resource") or {}).get("name") == "cpu"
                                           for at in statuses):
            statuses.insert(0, {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}})
        status["currentMetrics"] = statuses or None
        if extra[_CONDITIONS]:
            status["conditions"] = extra[_CONDITIONS]
        status.setdefault("desiredReplicas", 0)
        if status.get("currentReplicas") == 0:
            del status["currentReplicas"]
        found["status"] = status
        return found

    def from_stored(self, obj: Object) -> Object:
        found = {**obj, "apiVersion": "autoscaling/v1", "metadata": {**obj["metadata"]}, "spec": {**(obj.get("spec") or {})}}
        annotations = dict(found["metadata"].get("annotations") or {})
        spec = found["spec"]
        rest = []
        for metric in spec.pop("metrics", None) or ():
            resource = metric.get("resource") or {}
            wanted = (resource.get("target") or {}).get("averageUtilization")
            of_cpu = metric.get("type") == "Resource" and resource.get("name") == "cpu"
            if of_cpu and wanted is not None and "targetCPUUtilizationPercentage" not in spec:
                spec["targetCPUUtilizationPercentage"] = wanted
            else:
                rest.append(_metric_to_v1(metric))
        if rest:
            annotations[_METRICS] = _text(rest)
        behavior = spec.pop("behavior", None)
        if behavior:
            annotations[_BEHAVIOR] = _text(_behavior_to_go(behavior))
        status = {**(obj.get("status") or {})}
        current = status.pop("currentMetrics", None) or []
        if current:
            annotations[_CURRENT] = _text([_current_to_v1(metric) for metric in current])
            for metric in current:
                used = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
                if metric.get("type") == "Resource" and metric["resource"].get("name") == "cpu" and used is not None:
                    status["currentCPUUtilizationPercentage"] = used
        conditions = status.pop("conditions", None)
        if conditions:
            annotations[_CONDITIONS] = _text([{key: condition[key] for key in _CONDITION_FIELDS if key in condition}
                                              for condition in conditions])
        status.setdefault("currentReplicas", 0)
        status.setdefault("desiredReplicas", 0)
        found["status"] = status
        _set(found["metadata"], "annotations", annotations)
        return found


def _set(target: Object, key: str, value: Any) -> None:
    if value:
        target[key] = value
    else:
        target.pop(key, None)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _parsed(text: str | None) -> Any:
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _metric_to_v1(metric: Object) -> Object:
    kind = metric.get("type", "")
    if kind == "Pods":
        pods = metric["pods"]
        return {"type": kind, "pods": _drop({"metricName": pods["metric"]["name"], "targetAverageValue": pods["target"].get("averageValue"),
                                             "selector": pods["metric"].get("selector")})}
    if kind == "Resource":
        resource = metric["resource"]
        return {"type": kind, "resource": _drop({"name": resource["name"],
                                                 "targetAverageUtilization": resource["target"].get("averageUtilization"),
                                                 "targetAverageValue": resource["target"].get("averageValue")})}
    if kind == "ContainerResource":
        resource = metric["containerResource"]
        return {"type": kind, "containerResource": _drop({"name": resource["name"],
                                                          "targetAverageUtilization": resource["target"].get("averageUtilization"),
                                                          "targetAverageValue": resource["target"].get("averageValue"),
                                                          "container": resource.get("container")})}
    if kind == "Object":
        found = metric["object"]
        return {"type": kind, "object": _drop({"target": found.get("describedObject"), "metricName": found["metric"]["name"],
                                               "targetValue": found["target"].get("value",
                                                                                  "0"), "selector": found["metric"].get("selector"),
                                               "averageValue": found["target"].get("averageValue")})}
    found = metric.get("external") or {}
    return {"type": kind, "external": _drop({"metricName": (found.get("metric") or {}).get("name", ""),
                                             "metricSelector": (found.get("metric") or {}).get("selector"),
                                             "targetValue": (found.get("target") or {}).get("value"),
                                             "targetAverageValue": (found.get("target") or {}).get("averageValue")})}


def _metric_from_v1(metric: Object) -> Object:
    kind = metric.get("type", "")
    if kind == "Pods":
        pods = metric["pods"]
        return {"type": kind, "pods": {"metric": _drop({"name": pods.get("metricName", ""), "selector": pods.get("selector")}),
                                       "target": {"type": "AverageValue", "averageValue": pods.get("targetAverageValue", "0")}}}
    if kind in ("Resource", "ContainerResource"):
        key = "resource" if kind == "Resource" else "containerResource"
        found = metric[key]
        utilization = found.get("targetAverageUtilization")
        target = {"type": "Utilization", "averageUtilization": utilization} if utilization is not None else \
            {"type": "AverageValue", "averageValue": found.get("targetAverageValue", "0")}
        return {"type": kind, key: _drop({"name": found.get("name", ""), "container": found.get("container"), "target": target})}
    if kind == "Object":
        found = metric["object"]
        average = found.get("averageValue")
        target = {"type": "AverageValue", "averageValue": average} if average is not None else \
            {"type": "Value", "value": found.get("targetValue", "0")}
        return {"type": kind, "object": {"describedObject": found.get("target") or {}, "target": target,
                                         "metric": _drop({"name": found.get("metricName", ""), "selector": found.get("selector")})}}
    found = metric.get("external") or {}
    value = found.get("targetValue")
    target = {"type": "Value", "value": value} if value is not None else \
        {"type": "AverageValue", "averageValue": found.get("targetAverageValue", "0")}
    return {"type": kind, "external": {"metric": _drop({"name": found.get("metricName", ""), "selector": found.get("metricSelector")}),
                                       "target": target}}


def _current_to_v1(metric: Object) -> Object:
    kind = metric.get("type", "")
    if kind in ("Resource", "ContainerResource"):
        key = "resource" if kind == "Resource" else "containerResource"
        found = metric.get(key) or {}
        current = found.get("current") or {}
        return {"type": kind, key: _drop({"name": found.get("name", ""), "currentAverageUtilization": current.get("averageUtilization"),
                                          "currentAverageValue": current.get("averageValue", "0"), "container": found.get("container")})}
    if kind == "Pods":
        found = metric.get("pods") or {}
        return {"type": kind, "pods": _drop({"metricName": (found.get("metric") or {}).get("name", ""),
                                             "currentAverageValue": (found.get("current") or {}).get("averageValue", "0"),
                                             "selector": (found.get("metric") or {}).get("selector")})}
    if kind == "Object":
        found = metric.get("object") or {}
        current = found.get("current") or {}
        return {"type": kind,
                "object": _drop({"target": found.get("describedObject"), "metricName": (found.get("metric") or {}).get("name", ""),
                                               "currentValue": current.get("value", "0"), "averageValue": current.get("averageValue")})}
    found = metric.get("external") or {}
    current = found.get("current") or {}
    return {"type": kind, "external": _drop({"metricName": (found.get("metric") or {}).get("name", ""),
                                             "currentValue": current.get("value",
                                                                         "0"), "currentAverageValue": current.get("averageValue")})}


def _current_from_v1(metric: Object) -> Object:
    kind = metric.get("type", "")
    if kind in ("Resource", "ContainerResource"):
        key = "resource" if kind == "Resource" else "containerResource"
        found = metric.get(key) or {}
        return {"type": kind, key: _drop({"name": found.get("name", ""), "container": found.get("container"),
                                          "current": _drop({"averageUtilization": found.get("currentAverageUtilization"),
                                                            "averageValue": found.get("currentAverageValue")})})}
    key = {"Pods": "pods", "Object": "object"}.get(kind, "external")
    found = metric.get(key) or {}
    current = _drop({"value": found.get("currentValue"), "averageValue": found.get("currentAverageValue", found.get("averageValue"))})
    shown: Object = {"metric": {"name": found.get("metricName", "")}, "current": current}
    if key == "object":
        shown["describedObject"] = found.get("target") or {}
    return {"type": kind, key: shown}


def _behavior_to_go(behavior: Object) -> Object:
    def rules(value: Object | None) -> Object | None:
        if value is None:
            return None
        shown: Object = {go: value.get(wire) for go, wire in _RULE_FIELDS}
        shown["Policies"] = [{go: policy.get(wire) for go, wire in _POLICY_FIELDS} for policy in value.get("policies") or ()]
        return shown

    return {go: rules(behavior.get(wire)) for go, wire in _RULES}


def _behavior_from_go(behavior: Object) -> Object:
    def rules(value: Object) -> Object:
        found = _drop({wire: value.get(go) for go, wire in _RULE_FIELDS})
        found["policies"] = [{wire: policy.get(go) for go, wire in _POLICY_FIELDS} for policy in value.get("Policies") or ()]
        return found

    return {wire: rules(behavior[go]) for go, wire in _RULES if behavior.get(go)}


def _drop(value: Object) -> Object:
    return {key: item for key, item in value.items() if item is not None}
