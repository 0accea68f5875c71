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
ACTIVE_PODS = gauge("kubelet_active_pods", "The number of pods the kubelet considers active and which are being considered when admitting "
                    "new pods. static is true if the pod is not from the apiserver.", ("static",))
MIRROR_PODS = gauge("kubelet_mirror_pods", "The number of mirror pods the kubelet will try to create (one per admitted static pod)")
WORKING_PODS = gauge("kubelet_working_pods", "Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the "
                     "pod is desired, orphaned, or runtime only (also orphaned), and whether the pod is static.",
                     ("lifecycle", "config", "static"))
ORPHANED_PODS = counter("kubelet_orphaned_runtime_pods_total", "Number of pods that have been detected in the container runtime without "
                        "being already known to the pod worker. This typically indicates the kubelet was restarted while a pod was force "
                        "deleted in the API or in the local configuration, which is unusual.")
REJECTED_PODS = counter("kubelet_admission_rejections_total", "Cumulative number pod admission rejections by the Kubelet.", ("reason",))
STARTED_ERRORS = counter("kubelet_started_containers_errors_total", "Cumulative number of errors when starting containers",
                         ("container_type", "code"))
SANDBOX_ERRORS = counter("kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods")
RELIST_INTERVAL = histogram("kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting in PLEG.", (), _LATENCY)
LAST_SEEN = gauge("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.")
STATUS_SECONDS = histogram("kubelet_pod_status_sync_duration_seconds", "Duration in seconds to sync a pod status update. Measures time "
                           "from detection of a change to pod status until the API is successfully updated for that pod, even if multiple "
                           "intevening changes to pod status occur.", (), (0.010, 0.050, 0.100, 0.500, 1, 5, 10, 20, 30, 45, 60))
RESIZES = counter("kubelet_pod_infeasible_resizes_total", "Number of infeasible resizes for pods, partitioned by reason.",
                  ("reason_detail",))
PULL_SECONDS = histogram("kubelet_image_pull_duration_seconds", "Duration in seconds to pull an image.", ("image_size_in_bytes",),
                         (1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 480, 600, 1200, 1800, 2700, 3600))
CREDENTIAL_CHECKS = counter("kubelet_image_manager_ensure_image_requests_total",
                            "Number of ensure-image requests processed by the kubelet.",
                            ("present_locally", "pull_policy", "pull_required"))
EVENTED_ERRORS = gauge("kubelet_evented_pleg_connection_error_count", "The number of errors encountered during the establishment of "
                         "streaming connection with the CRI runtime.")  # a counter upstream
PREEMPTIONS = gauge("kubelet_preemptions", "Cumulative number of pod preemptions by preemption resource", ("preemption_signal",))
DEVICE_REGISTRATIONS = counter("kubelet_device_plugin_registration_total", "Cumulative number of device plugin registrations. Broken down "
                               "by resource name.", ("resource_name",))
TOPOLOGY_REQUESTS = counter("kubelet_topology_manager_admission_requests_total", "The number of admission requests where resources have to "
                            "be aligned.")
TOPOLOGY_ERRORS = counter("kubelet_topology_manager_admission_errors_total", "The number of admission request failures where resources "
                          "could not be aligned.")
CPU_REQUESTS = counter("kubelet_cpu_manager_pinning_requests_total", "The number of cpu core allocations which required pinning.")
CPU_ERRORS = counter("kubelet_cpu_manager_pinning_errors_total", "The number of cpu core allocations which required pinning failed.")
PROBE_REGISTRY = CollectorRegistry()
"""What `/metrics/probes` shows: it has a sample for each container, so it is kept apart."""
PROBES = Counter("prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.",
                 ("probe_type", "result", "container", "pod", "namespace"), registry=PROBE_REGISTRY)
