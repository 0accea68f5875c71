"""The scheduler's metrics, under upstream's names."""
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
PENDING = gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.", ("queue",))
PREEMPTIONS = counter("scheduler_preemption_attempts_total", "Total preemption attempts in the cluster till now")
VICTIMS = histogram("scheduler_preemption_victims", "Number of selected preemption victims", (), exponential(1, 2, 7))
CACHE_SIZE = gauge("scheduler_scheduler_cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", ("type",))
