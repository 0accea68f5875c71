"""Metrics of admission webhooks, under upstream's names."""
from __future__ import annotations

from kubepy.base.metrics import counter, histogram

SECONDS = histogram("apiserver_admission_webhook_admission_duration_seconds",
                    "Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API "
                    "resource and type (validate or admit).", ("name", "type", "operation", "rejected"),
                    (0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25))
REQUESTS = counter("apiserver_admission_webhook_request_total",
                   "Admission webhook request total, identified by name and broken out for each admission type and operation, with the "
                   "HTTP status code and whether the request was rejected.", ("name", "type", "operation", "code", "rejected"))
REJECTIONS = counter("apiserver_admission_webhook_rejection_count",
                     "Admission webhook rejection count, identified by name and broken out for each admission type and operation, with "
                     "the kind of error and the rejection code.", ("name", "type", "operation", "error_type", "rejection_code"))
FAIL_OPEN = counter("apiserver_admission_webhook_fail_open_count",
                    "Admission webhook fail open count, identified by name and broken out for each admission type.", ("name", "type"))
_LABELS = ("name", "kind", "type", "operation")
CONDITION_ERRORS = counter(
    "apiserver_admission_match_condition_evaluation_errors_total",
    "Admission match condition evaluation errors count, identified by name of resource containing the match condition and broken out for "
    "each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit).", _LABELS)
CONDITION_EXCLUSIONS = counter(
    "apiserver_admission_match_condition_exclusions_total",
    "Admission match condition evaluation exclusions count, identified by name of resource containing the match condition and broken out "
    "for each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit).", _LABELS)
