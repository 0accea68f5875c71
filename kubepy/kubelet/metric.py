"""The kubelet's metrics, under upstream's names."""
from __future__ import annotations

from prometheus_client import CollectorRegistry

from kubepy.base.metrics import Counter, counter, gauge, histogram

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_START = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0,
          1200.0,
          1800.0, 2700.0, 3600.0)

RUNNING_PODS = gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
RUNNING_CONTAINERS = gauge("kubelet_running_containers", "Number of containers currently running", ("container_state",))
DESIRED_PODS = gauge("kubelet_desired_pods", "The number of pods the kubelet is being instructed to run. static is true if the pod is not "
                     "from the apiserver.", ("static",))
NODE_NAME = gauge("kubelet_node_name", "The node's name. The count is always 1.", ("node",))
OPERATIONS = counter("kubelet_runtime_operations_total", "Cumulative number of runtime operations by operation type.", ("operation_type",))
OPERATION_ERRORS = counter("kubelet_runtime_operations_errors_total", "Cumulative number of runtime operation errors by operation type.",
                           ("operation_type",))
OPERATION_SECONDS = histogram("kubelet_runtime_operations_duration_seconds",
                              "Duration in seconds of runtime operations. Broken down by operation type.", ("operation_type",), _LATENCY)
RELIST_SECONDS = histogram("kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG.", (), _LATENCY)
WORKER_SECONDS = histogram("kubelet_pod_worker_duration_seconds",
                           "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
                           ("operation_type",), _LATENCY)
START_SECONDS = histogram("kubelet_pod_start_duration_seconds",
                          "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run", (), _START)
STARTED_CONTAINERS = counter("kubelet_started_containers_total", "Cumulative number of containers started", ("container_type",))
STARTED_PODS = counter("kubelet_started_pods_total", "Cumulative number of pods started")
EVICTIONS = gauge("kubelet_evictions", "Cumulative number of pod evictions by eviction signal", ("eviction_signal",))
PROBE_REGISTRY = CollectorRegistry()
"""What `/metrics/probes` shows: it has a sample for each container, so it is kept apart."""
PROBES = Counter("prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.",
                 ("probe_type", "result", "container", "pod", "namespace"), registry=PROBE_REGISTRY)
