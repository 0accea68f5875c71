"""kube-proxy's metrics, under upstream's names."""
from __future__ import annotations

from kubepy.base.metrics import counter, exponential, gauge, histogram

SYNC_SECONDS = histogram("kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", ("ip_family",),
                         exponential(0.001, 2, 15))
PROGRAMMING_SECONDS = histogram("kubeproxy_network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds",
                                ("ip_family",), (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300))
LAST_SYNC = gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced", ("ip_family",))
LAST_QUEUED = gauge("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued")
ENDPOINT_CHANGES = counter("kubeproxy_sync_proxy_rules_endpoint_changes_total", "Cumulative proxy rules Endpoint changes")
SERVICE_CHANGES = counter("kubeproxy_sync_proxy_rules_service_changes_total", "Cumulative proxy rules Service changes")
RESTORE_FAILURES = counter("kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
                           "Cumulative proxy iptables restore failures")
PARTIAL_FAILURES = counter("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
                           "Cumulative proxy iptables partial restore failures")
RULES = gauge("kubeproxy_sync_proxy_rules_iptables_total", "Total number of iptables rules owned by kube-proxy", ("table",))
RULES_LAST = gauge("kubeproxy_sync_proxy_rules_iptables_last", "Number of iptables rules written by kube-proxy in last sync")
NFT_FAILURES = counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Cumulative proxy nftables sync failures", ("ip_family",))
