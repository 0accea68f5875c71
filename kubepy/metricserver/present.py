"""Numbers as the objects of `metrics.k8s.io/v1beta1`, and as the tables kubectl asks for."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from kubepy.api.quantity import Quantity, parse_quantity
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.metricserver.sample import Usage

VERSION = "metrics.k8s.io/v1beta1"
GROUP: Object = {"kind": "APIGroup", "apiVersion": "v1", "name": "metrics.k8s.io",
                 "versions": [{"groupVersion": VERSION, "version": "v1beta1"}],
                 "preferredVersion": {"groupVersion": VERSION, "version": "v1beta1"}}
RESOURCES: Object = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [
    {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
    {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}]}


def usage_of(usage: Usage) -> Object:
    return {"cpu": str(Quantity(ceil(usage.cpu * 1e9))), "memory": f"{int(usage.memory) // 1024}Ki"}


def node_metrics(node: Object, usage: Usage) -> Object:
    return {"kind": "NodeMetrics", "apiVersion": VERSION, "metadata": _metadata(node, usage.time), "timestamp": format_time(usage.time),
            "window": _window(usage.window), "usage": usage_of(usage)}


def pod_metrics(pod: Object, containers: Mapping[str, Usage]) -> Object:
    """The moment is the earliest of the containers', so that nobody takes it for newer than it is."""
    first = min(containers.values(), key=lambda usage: usage.time)
    return {"kind": "PodMetrics", "apiVersion": VERSION, "metadata": _metadata(pod, first.time), "timestamp": format_time(first.time),
            "window": _window(first.window),
            "containers": [{"name": name, "usage": usage_of(usage)} for name, usage in sorted(containers.items())]}


def listed(kind: str, items: Sequence[Object]) -> Object:
    return {"kind": f"{kind}List", "apiVersion": VERSION, "metadata": {}, "items": list(items)}


def table(items: Sequence[Object]) -> Object:
    """Name and totals of each, as metrics-server's own table has them."""
    columns = [{"name": "Name", "type": "string", "format": "name", "description": "Name of the resource", "priority": 0},
               {"name": "cpu", "type": "string", "format": "", "description": "", "priority": 0},
               {"name": "memory", "type": "string", "format": "", "description": "", "priority": 0},
               {"name": "Window", "type": "string", "format": "duration", "description": "", "priority": 0}]
    rows = []
    for item in items:
        parts = [part["usage"] for part in item.get("containers") or ({"usage": item["usage"]},)]
        totals = [str(sum((parse_quantity(part[name]) for part in parts), Quantity(0))) for name in ("cpu", "memory")]
        metadata = item["metadata"]
        rows.append({"cells": [metadata["name"], *totals, item["window"]], "object": {
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}})
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows}



def _metadata(source: Object, time: float) -> Object:
    metadata = source["metadata"]
    found = {"name": metadata["name"], "creationTimestamp": format_time(time)}
    if metadata.get("namespace"):
        found["namespace"] = metadata["namespace"]
    if metadata.get("labels"):
        found["labels"] = metadata["labels"]
    return found


def _window(seconds: float) -> str:
    """A Go duration with milliseconds, such as 15.023s or 1m0.5s."""
    minutes, rest = divmod(round(seconds, 3), 60)
    tail = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{tail}" if minutes else tail
