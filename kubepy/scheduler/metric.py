"""The scheduler's metrics, under upstream's names (`pkg/scheduler/metrics`)."""
from __future__ import annotations

from kubepy.base.metrics import counter, exponential, gauge, histogram

ATTEMPTS = counter("scheduler_schedule_attempts_total", "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod "
                   "could not be scheduled, while 'error' means an internal scheduler problem.", ("result", "profile"))
ATTEMPT_SECONDS = histogram("scheduler_scheduling_attempt_duration_seconds", "Scheduling attempt latency in seconds (scheduling algorithm "
                            "+ binding)", ("result", "profile"), exponential(0.001, 2, 15))
ALGORITHM_SECONDS = histogram("scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds", (),
                              exponential(0.001, 2, 15))
SLI_SECONDS = histogram("scheduler_pod_scheduling_sli_duration_seconds", "E2e latency for a pod being scheduled, from the time the pod "
                        "enters the scheduling queue and might involve multiple scheduling attempts.", ("attempts",),
                        exponential(0.01, 2, 20))
POD_ATTEMPTS = histogram("scheduler_pod_scheduling_attempts", "Number of attempts to successfully schedule a pod.", (),
                         exponential(1, 2, 5))
PENDING = gauge("scheduler_pending_pods", "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' "
                "means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler attempted "
                "to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule "
                "because they are gated.", ("queue",))
INCOMING = counter("scheduler_queue_incoming_pods_total", "Number of pods added to scheduling queues by event and queue type.",
                   ("queue", "event"))
UNSCHEDULABLE = gauge("scheduler_unschedulable_pods", "The number of unschedulable pods broken down by plugin name. A pod will increment "
                      "the gauge for all plugins that caused it to not schedule and so this metric have meaning only when broken down by "
                      "plugin.", ("plugin", "profile"))
POINT_SECONDS = histogram("scheduler_framework_extension_point_duration_seconds", "Latency for running all plugins of a specific extension "
                          "point.", ("extension_point", "status", "profile"), exponential(0.0001, 2, 12))
PLUGIN_SECONDS = histogram("scheduler_plugin_execution_duration_seconds", "Duration for running a plugin at a specific extension point.",
                           ("plugin", "extension_point", "status"), exponential(0.00001, 1.5, 20))
PLUGIN_EVALUATIONS = counter("scheduler_plugin_evaluation_total", "Number of attempts to schedule pods by each plugin and the extension "
                             "point (available only in PreFilter, Filter, PreScore, and Score).", ("plugin", "extension_point", "profile"))
PREEMPTIONS = counter("scheduler_preemption_attempts_total", "Total preemption attempts in the cluster till now")
VICTIMS = histogram("scheduler_preemption_victims", "Number of selected preemption victims", (), exponential(1, 2, 7))
PREEMPTION_SECONDS = histogram("scheduler_preemption_goroutines_duration_seconds", "Duration in seconds for running goroutines for the "
                               "preemption.", ("result",), exponential(0.01, 2, 20))
PREEMPTION_RUNS = counter("scheduler_preemption_goroutines_execution_total", "Number of preemption goroutines executed.", ("result",))
PERMIT_SECONDS = histogram("scheduler_permit_wait_duration_seconds", "Duration of waiting on permit.", ("result",),
                           exponential(0.001, 2, 15))
CACHE_SIZE = gauge("scheduler_cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", ("type",))
GOROUTINES = gauge("scheduler_goroutines", "Number of running goroutines split by the work they do such as binding.", ("operation",))
INFLIGHT = gauge("scheduler_inflight_events", "Number of events currently tracked in the scheduling queue.", ("event",))
EVENT_SECONDS = histogram("scheduler_event_handling_duration_seconds", "Event handling latency in seconds.", ("event",),
                          exponential(0.0001, 2, 12))
HINT_SECONDS = histogram("scheduler_queueing_hint_execution_duration_seconds", "Latency for running a queueing hint function of a plugin.",
                         ("plugin", "event", "hint"), exponential(0.00001, 2, 12))
CLAIM_CREATES = counter("scheduler_resourceclaim_creates_total", "Number of ResourceClaims creation requests within scheduler", ("status",))
for _kind in ("active", "backoff", "unschedulable", "gated"):
    PENDING.labels(_kind).set(0)
