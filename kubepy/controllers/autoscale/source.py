"""Each kind of metric that a HorizontalPodAutoscaler may name: the replicas it asks for, what status shows, how it is called."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from kubepy.api.quantity import Quantity, milli_value_of
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.controllers.autoscale import replica
from kubepy.controllers.autoscale.metric import UNFETCHED, Metrics, at
from kubepy.controllers.autoscale.replica import CannotCalculate, Settings, Tolerance


class Target(NamedTuple):
    """What is scaled: its replicas by spec and by status, its pods, and the text of its selector."""

    namespace: str
    wanted: int
    present: int
    selector: str
    pods: Sequence[Object]


class Proposal(NamedTuple):
    replicas: int
    name: str
    status: Object


class Failure(CannotCalculate):
    """`reason` and `told` are the event's and the condition's, the message is what the whole pass says; `problem` is for metrics."""

    def __init__(self, reason: str, told: str, around: str = "", problem: str = "internal") -> None:
        super().__init__(f"{around}{told}")
        self.reason, self.told, self.problem = reason, told, problem


NEITHER = "invalid {} metric source: neither a value target nor an average value target was set"
NO_RESOURCE_TARGET = "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set"


class Sources:
    """`plural_of(apiVersion, kind)` gives the `plural.group` under which a described object is known."""

    def __init__(self, metrics: Metrics, plural_of: Callable[[str, str], Awaitable[str]]) -> None:
        self._metrics, self._plural_of = metrics, plural_of

    async def propose(self, spec: Object, target: Target, tolerance: Tolerance, settings: Settings) -> Proposal:
        """Raises Failure."""
        type = spec["type"]
        try:
            if type in ("Resource", "ContainerResource"):
                return await self._resource(spec, target, tolerance, settings)
            if type == "Pods":
                return await self._pods(spec["pods"], target, tolerance, settings)
            if type == "Object":
                return await self._object(spec["object"], target, tolerance)
            if type == "External":
                return await self._external(spec["external"], target, tolerance)
        except CannotCalculate as error:
            raise Failure(f"FailedGet{type}Metric", str(error), _around(spec, str(error))) from error
        raise Failure("InvalidMetricSourceType", f'unknown metric source type "{type}"', problem="spec")

    async def _resource(self, spec: Object, target: Target, tolerance: Tolerance, settings: Settings) -> Proposal:
        field = "resource" if spec["type"] == "Resource" else "containerResource"
        source = spec[field]
        name, container = source["name"], source.get("container", "")
        average, utilization = source["target"].get("averageValue"), source["target"].get("averageUtilization")
        if average is None and utilization is None:
            raise CannotCalculate(NO_RESOURCE_TARGET)
        try:
            samples = await self._metrics.of_pods(target.namespace, target.selector, name, container)
            if average is not None:
                result = replica.by_average(target.pods, samples, milli_value_of(average), name, target.wanted, tolerance, settings)
            else:
                result = replica.by_utilization(target.pods, samples, utilization, name, container, target.wanted, tolerance, settings)
        except CannotCalculate as error:
            raise CannotCalculate(f"failed to get {name} {'usage' if average is not None else 'utilization'}: {error}") from error
        current: Object = {"averageValue": _milli(result.average)}
        shown = f"{name} resource"
        if result.utilization is not None:
            current["averageUtilization"] = result.utilization
            shown = f"{name} {'container ' if container else ''}resource utilization (percentage of request)"
        return Proposal(result.replicas, shown, {"type": spec["type"], field: {
            "name": name, **({"container": container} if container else {}), "current": current}})

    async def _pods(self, source: Object, target: Target, tolerance: Tolerance, settings: Settings) -> Proposal:
        metric = source["metric"]
        samples = await self._metrics.custom_of_pods(target.namespace, target.selector, metric["name"], _selector(metric))
        result = replica.by_average(target.pods, samples, milli_value_of(source["target"]["averageValue"]), "", target.wanted, tolerance,
                                    settings)
        return Proposal(result.replicas, f"pods metric {metric['name']}", {"type": "Pods", "pods": {
            "metric": metric, "current": {"averageValue": _milli(result.average)}}})

    async def _object(self, source: Object, target: Target, tolerance: Tolerance) -> Proposal:
        metric, about = source["metric"], source["describedObject"]
        if source["target"].get("value") is None and source["target"].get("averageValue") is None:
            raise CannotCalculate(NEITHER.format("object"))
        try:
            plural = await self._plural_of(about.get("apiVersion") or "", about["kind"])
        except CannotCalculate as error:
            raise CannotCalculate(f"{at(target.namespace, about, metric['name'])}{UNFETCHED}{error}") from error
        usage = await self._metrics.custom_of_object(target.namespace, plural, about, metric["name"], _selector(metric))
        replicas, current = self._whole(usage, source["target"], target, tolerance)
        shown = f"{about['kind']} metric {metric['name']}"
        if source["target"].get("averageValue") is not None:
            shown = f"external metric {metric['name']}({_as_go(metric.get('selector'))})"  # as upstream calls it, though it is not external
        return Proposal(replicas, shown, {"type": "Object", "object": {
            "describedObject": about, "metric": metric, "current": current}})

    async def _external(self, source: Object, target: Target, tolerance: Tolerance) -> Proposal:
        metric = source["metric"]
        if source["target"].get("value") is None and source["target"].get("averageValue") is None:
            raise CannotCalculate(NEITHER.format("external"))
        usage = await self._metrics.external(target.namespace, metric["name"], _selector(metric), _as_go(metric.get("selector")))
        replicas, current = self._whole(usage, source["target"], target, tolerance)
        return Proposal(replicas, f"external metric {metric['name']}({_as_go(metric.get('selector'))})", {"type": "External", "external": {
            "metric": metric, "current": current}})

    def _whole(self, usage: int, wanted: Object, target: Target, tolerance: Tolerance) -> tuple[int, Object]:
        if wanted.get("averageValue") is not None:
            result = replica.per_pod(usage, milli_value_of(wanted["averageValue"]), target.present, tolerance)
            return result.replicas, {"averageValue": _milli(result.average)}
        return replica.by_value(usage, milli_value_of(wanted["value"]), target.pods, target.wanted, tolerance), {"value": _milli(usage)}


def _around(spec: Object, told: str) -> str:
    """What the whole pass says before what the metric says."""
    type, neither = spec["type"], told.startswith("invalid ")
    if type == "Resource":
        return f"failed to get {spec['resource']['name']} resource metric value: "
    if type == "ContainerResource":
        return f"failed to get {spec['containerResource']['container']} container metric value: "
    if type == "External":
        name = spec["external"]["metric"]["name"]
        return f"failed to get {name} external metric value: " + ("" if neither else f"failed to get {name} external metric: ")
    if type == "Object" and spec["object"]["target"].get("averageValue") is not None:
        return f"failed to get object metric value: failed to get {spec['object']['metric']['name']} object metric: "
    return f"failed to get {type.lower()} metric value: "


def _selector(metric: Object) -> str:
    return str(from_object(metric["selector"])) if metric.get("selector") is not None else ""


def _milli(value: int) -> str:
    return str(Quantity.of_milli(value))


def _as_go(selector: Object | None) -> str:
    """A label selector as Go prints it with %+v."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(f"LabelSelectorRequirement{{Key:{item['key']},Operator:{item['operator']},"
                          f"Values:[{' '.join(item.get('values') or ())}],}}," for item in selector.get("matchExpressions") or ())
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
