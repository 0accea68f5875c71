"""Prometheus metrics under Kubernetes' names, in one registry a process.

Metrics are module constants where they are counted:

    REQUESTS = counter("rest_client_requests_total", "HTTP requests by code, method and host.", ("code", "method", "host"))
    REQUESTS.labels("200", "GET", host).inc()

Declaring a name twice raises, as two owners of one metric are a mistake. `labels(...)` costs a lookup under a lock:
where a line runs thousands of times a second, keep the child it returns.
"""
from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest

__all__ = ["CONTENT_TYPE", "REGISTRY", "Counter", "Gauge", "Histogram", "counter", "exponential", "gauge", "histogram", "render"]

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    return Counter(name, documentation, labels, registry=REGISTRY)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, documentation, labels, registry=REGISTRY)


def histogram(name: str, documentation: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS) -> Histogram:
    """Buckets are upper bounds in the metric's unit, without +Inf."""
    return Histogram(name, documentation, labels, buckets=tuple(buckets), registry=REGISTRY)


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """`count` bucket bounds from `start`, each `factor` times the one before (Prometheus' ExponentialBuckets)."""
    return tuple(start * factor**i for i in range(count))


def render() -> bytes:
    """Everything in the registry in Prometheus' text format (`CONTENT_TYPE`)."""
    return generate_latest(REGISTRY)
