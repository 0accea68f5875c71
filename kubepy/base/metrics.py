"""Prometheus metrics under Kubernetes' names, in one registry a process.

Metrics are module constants where they are counted:

    REQUESTS = counter("rest_client_requests_total", "HTTP requests by code, method and host.", ("code", "method", "host"))
    REQUESTS.labels("200", "GET", host).inc()

Declaring a name twice raises, as two owners of one metric are a mistake. `labels(...)` costs a lookup under a lock:
where a line runs thousands of times a second, keep the child it returns. Counting itself is a few instructions, without the
library's locks and checks: each request of a component counts a dozen times.
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest

__all__ = ["CONTENT_TYPE", "REGISTRY", "Counter", "Gauge", "Histogram", "counter", "exponential", "gauge", "hide", "histogram", "render"]

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Value:
    """A number. Changing it is one step for the interpreter (it switches threads at calls only), so it needs no lock."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0.0

    def get(self) -> float:
        return self.number

    def set(self, value: float) -> None:
        self.number = value

    def get_exemplar(self) -> None:
        return None


class Counter(prometheus_client.Counter):
    _value: _Value

    def _metric_init(self) -> None:
        self._value, self._created = _Value(), 0.0

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        self._value.number += amount


class Gauge(prometheus_client.Gauge):
    _value: _Value

    def _metric_init(self) -> None:
        self._value = _Value()

    def inc(self, amount: float = 1) -> None:
        self._value.number += amount

    def dec(self, amount: float = 1) -> None:
        self._value.number -= amount

    def set(self, value: float) -> None:
        self._value.number = float(value)


class Histogram(prometheus_client.Histogram):
    _buckets: list[Any]
    _sum: _Value

    def _metric_init(self) -> None:
        self._buckets, self._sum, self._created = [_Value() for _ in self._upper_bounds], _Value(), 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        self._sum.number += amount
        self._buckets[bisect_left(self._upper_bounds, amount)].number += 1


_STABLE = frozenset((
    "apiserver_admission_controller_admission_duration_seconds", "apiserver_admission_step_admission_duration_seconds",
    "apiserver_admission_webhook_admission_duration_seconds", "apiserver_current_inflight_requests", "apiserver_longrunning_requests",
    "apiserver_requested_deprecated_apis", "apiserver_response_sizes", "apiserver_storage_objects",
    "cronjob_controller_job_creation_skew_duration_seconds", "job_controller_job_pods_finished_total",
    "job_controller_job_sync_duration_seconds", "job_controller_job_syncs_total", "job_controller_jobs_finished_total",
    "node_collector_evictions_total", "scheduler_framework_extension_point_duration_seconds", "scheduler_pending_pods",
    "scheduler_pod_scheduling_attempts", "scheduler_preemption_attempts_total", "scheduler_preemption_victims",
    "scheduler_queue_incoming_pods_total", "scheduler_schedule_attempts_total", "scheduler_scheduling_attempt_duration_seconds"))
_BETA = frozenset((
    "apiserver_flowcontrol_current_executing_requests", "apiserver_flowcontrol_current_executing_seats",
    "apiserver_flowcontrol_current_inqueue_requests", "apiserver_flowcontrol_dispatched_requests_total",
    "apiserver_flowcontrol_nominal_limit_seats", "apiserver_flowcontrol_rejected_requests_total",
    "apiserver_flowcontrol_request_wait_duration_seconds", "scheduler_pod_scheduling_sli_duration_seconds"))


def _help(name: str, documentation: str) -> str:
    """With how stable the metric is, as Kubernetes' help texts begin, unless it says so itself."""
    if documentation.startswith("["):
        return documentation
    return f"[{'STABLE' if name in _STABLE else 'BETA' if name in _BETA else 'ALPHA'}] {documentation}"


_APART = CollectorRegistry(auto_describe=True)


def counter(name: str, documentation: str, labels: Sequence[str] = (), *, apart: bool = False) -> Counter:
    """`apart`: a gauge has the same name without `_total`, which the library allows in different registries only."""
    return Counter(name, _help(name, documentation), labels, registry=_APART if apart else REGISTRY)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, _help(name, documentation), labels, registry=REGISTRY)


def histogram(name: str, documentation: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS) -> Histogram:
    """Buckets are upper bounds in the metric's unit, without +Inf."""
    return Histogram(name, _help(name, documentation), labels, buckets=tuple(buckets), registry=REGISTRY)


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """`count` bucket bounds from `start`, each `factor` times the one before (Prometheus' ExponentialBuckets)."""
    return tuple(start * factor**i for i in range(count))


_hidden: list[str] = []


def hide(names: Iterable[str]) -> None:
    """Metrics that are not to be shown any more (`--disabled-metrics`), by their full names."""
    _hidden[:] = names


def render() -> bytes:
    """Everything in the registry in Prometheus' text format (`CONTENT_TYPE`), but for what is hidden."""
    text = generate_latest(REGISTRY) + generate_latest(_APART)
    if not _hidden:
        return text
    parts = re.split(rb"(?m)^(?=# HELP )", text)
    hidden = tuple(f"# HELP {name} ".encode() for name in _hidden)
    return b"".join(part for part in parts if not part.startswith(hidden))
