"""What the Job controller counts, under upstream's names."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.base.metrics import counter, exponential, histogram

_MODE = ("completion_mode", "result", "action")
SYNCS = counter("job_controller_job_syncs_total", "The number of job syncs", _MODE)
DURATION = histogram("job_controller_job_sync_duration_seconds", "The time it took to sync a job", _MODE, exponential(0.004, 2, 15))
FINISHED = counter("job_controller_jobs_finished_total", "The number of finished jobs", ("completion_mode", "result", "reason"))
PODS_FINISHED = counter("job_controller_job_pods_finished_total", "The number of finished Pods that are fully tracked",
                        ("completion_mode", "result"))
PODS_CREATED = counter("job_controller_job_pods_creation_total", "The number of Pods created by the Job controller", ("reason", "status"))
POLICY = counter("job_controller_pod_failures_handled_by_failure_policy_total",
                 "The number of failed Pods handled by failure policy with respect to the failure policy action applied", ("action",))
TRACKED = counter("job_controller_terminated_pods_tracking_finalizer_total",
                  "The number of terminated pods (phase=Failed|Succeeded) that have the finalizer batch.kubernetes.io/job-tracking "
                  "(event=add) or had it removed (event=delete)", ("event",))
INDEXES = counter("job_controller_job_finished_indexes_total", "The number of finished indexes", ("status", "backoffLimit"))
EXTERNAL = counter("job_controller_jobs_by_external_controller_total",
                   "The number of Jobs managed by an external controller", ("controller_name",))


def mode(job: Object) -> str:
    return str(job["spec"].get("completionMode") or "NonIndexed")
