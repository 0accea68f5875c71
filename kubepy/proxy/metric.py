"""kube-proxy's metrics, under upstream's names."""
from __future__ import annotations

from kubepy.base.metrics import counter, exponential, gauge, histogram

_SYNC = "kubeproxy_sync_proxy_rules"
_FAMILY = ("ip_family",)
_BUCKETS = exponential(0.001, 2, 15)

SYNC_SECONDS = histogram(f"{_SYNC}_duration_seconds", "SyncProxyRules latency in seconds", _FAMILY, _BUCKETS)
FULL_SECONDS = histogram("kubeproxy_sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", _FAMILY,
                         _BUCKETS)
PARTIAL_SECONDS = histogram("kubeproxy_sync_partial_proxy_rules_duration_seconds",
                            "SyncProxyRules latency in seconds for partial resyncs", _FAMILY, _BUCKETS)
PROGRAMMING_SECONDS = histogram("kubeproxy_network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds",
                                _FAMILY, (0.25, 0.5, *range(1, 60), *range(60, 105, 5), *range(120, 330, 30)))
LAST_SYNC = gauge(f"{_SYNC}_last_timestamp_seconds", "The last time proxy rules were successfully synced", _FAMILY)
LAST_QUEUED = gauge(f"{_SYNC}_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued", _FAMILY)
ENDPOINT_CHANGES = counter(f"{_SYNC}_endpoint_changes_total", "Cumulative proxy rules Endpoint changes", _FAMILY)
ENDPOINT_PENDING = gauge(f"{_SYNC}_endpoint_changes_pending", "Pending proxy rules Endpoint changes", _FAMILY)
SERVICE_CHANGES = counter(f"{_SYNC}_service_changes_total", "Cumulative proxy rules Service changes", _FAMILY)
SERVICE_PENDING = gauge(f"{_SYNC}_service_changes_pending", "Pending proxy rules Service changes", _FAMILY)
NO_LOCAL = gauge(f"{_SYNC}_no_local_endpoints_total", "Number of services with a Local traffic policy and no endpoints",
                 ("ip_family", "traffic_policy"))
RESTORE_FAILURES = counter(f"{_SYNC}_iptables_restore_failures_total", "Cumulative proxy iptables restore failures", _FAMILY)
PARTIAL_FAILURES = counter(f"{_SYNC}_iptables_partial_restore_failures_total", "Cumulative proxy iptables partial restore failures",
                           _FAMILY)
RULES = gauge(f"{_SYNC}_iptables_total", "Total number of iptables rules owned by kube-proxy", ("table", "ip_family"))
RULES_LAST = gauge(f"{_SYNC}_iptables_last", "Number of iptables rules written by kube-proxy in last sync", ("table", "ip_family"))
NFT_FAILURES = counter(f"{_SYNC}_nftables_sync_failures_total", "Cumulative proxy nftables sync failures", _FAMILY)
NFT_CLEANUP_FAILURES = counter(f"{_SYNC}_nftables_cleanup_failures_total", "Cumulative proxy nftables cleanup failures", _FAMILY)
CONNTRACK_SECONDS = histogram("kubeproxy_conntrack_reconciler_sync_duration_seconds", "ReconcileConntrackFlowsLatency latency in seconds",
                              _FAMILY, _BUCKETS)
CONNTRACK_DELETED = counter("kubeproxy_conntrack_reconciler_deleted_entries_total",
                            "Cumulative conntrack flows deleted by conntrack reconciler",
                            _FAMILY)
HEALTHZ = counter("kubeproxy_proxy_healthz_total", "Cumulative proxy healthz HTTP status", ("code",))
LIVEZ = counter("kubeproxy_proxy_livez_total", "Cumulative proxy livez HTTP status", ("code",))
