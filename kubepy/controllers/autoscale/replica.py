"""How many replicas metrics ask for (`podautoscaler.ReplicaCalculator`). All values are thousandths.

Pods that have ended or are leaving do not count; pods that are not ready yet and pods without metrics are taken so that they
hold scaling back, never so that they drive it: when scaling up they use nothing, when scaling down all they may.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from kubepy.api.pod import condition, is_ready, phase
from kubepy.api.quantity import milli_value_of
from kubepy.api.types import Object
from kubepy.base.clock import parse_time


class CannotCalculate(ValueError):
    """Why no number of replicas can be given; the message is upstream's."""


class Sample(NamedTuple):
    """One pod's value, when it was measured (epoch seconds) and over which time (seconds)."""

    value: int
    timestamp: float = 0.0
    window: float = 60.0


class Tolerance(NamedTuple):
    """How far from 1.0 a ratio may be without anything being done."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Settings(NamedTuple):
    now: float
    cpu_initialization: float = 300.0
    initial_readiness: float = 30.0


class Result(NamedTuple):
    """`utilization` is a percentage where requests count, else None; `average` is the value of a pod in thousandths."""

    replicas: int
    average: int
    utilization: int | None = None


@dataclass(slots=True)
class Grouped:
    ready: int
    unready: list[str]
    missing: list[str]
    ignored: list[str]


NO_PODS = "no pods returned by selector while calculating replica count"
NO_METRICS = "did not receive metrics for targeted pods (pods might be unready)"


def group(pods: Sequence[Object], samples: Mapping[str, Sample], resource: str, settings: Settings) -> Grouped:
    found = Grouped(0, [], [], [])
    for pod in pods:
        name = pod["metadata"]["name"]
        if pod["metadata"].get("deletionTimestamp") is not None or phase(pod) == "Failed":
            found.ignored.append(name)
        elif phase(pod) == "Pending":
            found.unready.append(name)
        elif name not in samples:
            found.missing.append(name)
        elif resource == "cpu" and _is_starting(pod, samples[name], settings):
            found.unready.append(name)
        else:
            found.ready += 1
    return found


def _is_starting(pod: Object, sample: Sample, settings: Settings) -> bool:
    """Its CPU use may still be that of starting."""
    ready, started = condition(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if ready is None or not started:
        return True
    start, turned = parse_time(started), parse_time(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else 0.0
    if start + settings.cpu_initialization > settings.now:
        return ready["status"] == "False" or sample.timestamp < turned + sample.window
    return ready["status"] == "False" and start + settings.initial_readiness > turned


def by_utilization(pods: Sequence[Object], samples: Mapping[str, Sample], target: int, resource: str, container: str, current: int,
                   tolerance: Tolerance, settings: Settings) -> Result:
    """Use as a percentage of what the pods request."""
    found, values = _prepare(pods, samples, resource, settings)
    requests = {pod["metadata"]["name"]: request(pod, resource, container) for pod in pods}
    utilization, average = _utilization(values, requests)
    fallback = max(100, target)

    def ratio(values: Mapping[str, int]) -> float:
        return _utilization(values, requests)[0] / target

    replicas = _replicas(found, values, utilization / target, ratio, {name: requests[name] * fallback // 100 for name in found.missing},
                         current, tolerance)
    return Result(replicas, average, utilization)


def by_average(pods: Sequence[Object], samples: Mapping[str, Sample], target: int, resource: str, current: int, tolerance: Tolerance,
               settings: Settings) -> Result:
    """An absolute value for each pod; `resource` is "" for custom metrics."""
    found, values = _prepare(pods, samples, resource, settings)

    def ratio(values: Mapping[str, int]) -> float:
        return sum(values.values()) // len(values) / target

    average = sum(values.values()) // len(values)
    replicas = _replicas(found, values, average / target, ratio, dict.fromkeys(found.missing, target), current, tolerance)
    return Result(replicas, average)


def _prepare(pods: Sequence[Object], samples: Mapping[str, Sample], resource: str, settings: Settings) -> tuple[Grouped, dict[str, int]]:
    if not pods:
        raise CannotCalculate(NO_PODS)
    found = group(pods, samples, resource, settings)
    left_out = {*found.ignored, *found.unready}
    values = {name: sample.value for name, sample in samples.items() if name not in left_out}
    if not values:
        raise CannotCalculate(NO_METRICS)
    return found, values


def _replicas(found: Grouped, values: dict[str, int], before: float, ratio: Callable[[Mapping[str, int]], float], full: Mapping[str, int],
              current: int, tolerance: Tolerance) -> int:
    """`before` is the ratio of what is known, `full` what pods without metrics are taken to use when scaling down."""
    with_unready = bool(found.unready) and before > 1.0
    if not with_unready and not found.missing:
        return current if tolerance.covers(before) else ceil(before * found.ready)
    if before != 1.0:
        values |= full if before < 1.0 else dict.fromkeys(found.missing, 0)
    if with_unready:
        values |= dict.fromkeys(found.unready, 0)
    after = ratio(values)
    if tolerance.covers(after) or (before < 1.0 < after) or (after < 1.0 < before):
        return current
    replicas = ceil(after * len(values))
    if (after < 1.0 and replicas > current) or (after > 1.0 and replicas < current):
        return current
    return replicas


def _utilization(values: Mapping[str, int], requests: Mapping[str, int]) -> tuple[int, int]:
    """Percent of the requests, and the average value."""
    known = [name for name in values if name in requests]
    total = sum(requests[name] for name in known)
    if not total:
        raise CannotCalculate("no metrics returned matched known pods")
    used = sum(values[name] for name in known)
    return used * 100 // total, used // len(known)


def request(pod: Object, resource: str, container: str = "") -> int:
    """What the pod (or its one container) requests, in thousandths; restartable init containers count as containers."""
    spec, total = pod["spec"], 0
    own = ((spec.get("resources") or {}).get("requests") or {}).get(resource)
    if own is not None and not container:
        return milli_value_of(own)
    sidecars = [item for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"]
    for item in [*spec["containers"], *sidecars]:
        if container and item["name"] != container:
            continue
        value = ((item.get("resources") or {}).get("requests") or {}).get(resource)
        if value is None:
            raise CannotCalculate(f"missing request for {resource} in container {item['name']} of Pod {pod['metadata']['name']}")
        total += milli_value_of(value)
    return total


def by_value(usage: int, target: int, pods: Sequence[Object], current: int, tolerance: Tolerance) -> int:
    """One value for all pods (Object and External metrics with a value as target)."""
    ratio = usage / target
    if current == 0:
        return ceil(ratio)
    if tolerance.covers(ratio):
        return current
    if not pods:
        raise CannotCalculate(f"unable to calculate ready pods: {NO_PODS}")
    return ceil(ratio * sum(phase(pod) == "Running" and is_ready(pod) for pod in pods))


def per_pod(usage: int, target: int, replicas: int, tolerance: Tolerance) -> Result:
    """One value, shared evenly by the replicas (Object and External metrics with an average as target)."""
    wanted = replicas
    if not replicas or not tolerance.covers(usage / (target * replicas)):
        wanted = ceil(usage / target)
    return Result(wanted, ceil(usage / replicas) if replicas else 0)
