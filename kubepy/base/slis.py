"""Results of health checks as service level indicators: what /metrics/slis answers (KEP-3466, component-base `metrics/prometheus/slis`).

They have a registry of their own, so that a monitor may scrape them every few seconds without the cost of all other metrics.
"""
from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

REGISTRY = CollectorRegistry(auto_describe=True)
_LAST = Gauge("kubernetes_healthcheck", "[STABLE] This metric records the result of a single healthcheck.", ("name", "type"),
              registry=REGISTRY)
_ALL = Counter("kubernetes_healthchecks_total", "[STABLE] This metric records the results of all healthcheck.", ("name", "type", "status"),
               registry=REGISTRY)


def observe(name: str, endpoint: str, good: bool) -> None:
    """Counts one run of the check `name` for `endpoint`: healthz, livez or readyz."""
    _LAST.labels(name, endpoint).set(1 if good else 0)
    _ALL.labels(name, endpoint, "success" if good else "error").inc()


def render() -> bytes:
    """In Prometheus' text format (`metrics.CONTENT_TYPE`)."""
    return generate_latest(REGISTRY)
