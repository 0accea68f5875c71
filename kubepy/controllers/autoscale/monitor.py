"""What the autoscaler says of its own work (`podautoscaler/monitor`), by action and by what went wrong."""
from __future__ import annotations

from kubepy.base.metrics import counter, exponential, gauge, histogram

_ACTION = "The label 'action' should be either 'scale_down', 'scale_up', or 'none'."
_ERROR = "label 'error' should be either 'spec', 'internal', or 'none'."
_PASS = (f"{_ACTION} Also, the {_ERROR} Note that if both spec and internal errors happen during a reconciliation, "
         "the first one to occur is reported in `error` label.")
_TYPE = "The label 'metric_type' corresponds to HPA.spec.metrics[*].type"
_PREFIX = "horizontal_pod_autoscaler_controller"
_BUCKETS = exponential(0.001, 2, 15)

PASSES = counter(f"{_PREFIX}_reconciliations_total", f"Number of reconciliations of HPA controller. {_PASS}", ("action", "error"))
DURATION = histogram(f"{_PREFIX}_reconciliation_duration_seconds",
                     f"The time(seconds) that the HPA controller takes to reconcile once. {_PASS}", ("action", "error"), _BUCKETS)
COMPUTATIONS = counter(f"{_PREFIX}_metric_computation_total", f"Number of metric computations. {_ACTION} Also, the {_ERROR} {_TYPE}",
                       ("action", "error", "metric_type"))
COMPUTATION = histogram(f"{_PREFIX}_metric_computation_duration_seconds",
                        f"The time(seconds) that the HPA controller takes to calculate one metric. {_ACTION} The {_ERROR} {_TYPE}",
                        ("action", "error", "metric_type"), _BUCKETS)
AUTOSCALERS = gauge(f"{_PREFIX}_num_horizontal_pod_autoscalers", "Current number of controlled HPA objects.")
DESIRED = gauge(f"{_PREFIX}_desired_replicas", "Current desired replica count for HPA objects.", ("namespace", "hpa_name"))


def action(before: int, after: int) -> str:
    return "scale_up" if after > before else "scale_down" if after < before else "none"


def passed(before: int, after: int, problem: str, seconds: float) -> None:
    PASSES.labels(action(before, after), problem).inc()
    DURATION.labels(action(before, after), problem).observe(seconds)


def computed(before: int, after: int, problem: str, type: str, seconds: float) -> None:
    COMPUTATIONS.labels(action(before, after), problem, type).inc()
    COMPUTATION.labels(action(before, after), problem, type).observe(seconds)


def forget(namespace: str, name: str) -> None:
    """A gauge of what is gone would stay at its last value."""
    if (namespace, name) in DESIRED._metrics:
        DESIRED.remove(namespace, name)
