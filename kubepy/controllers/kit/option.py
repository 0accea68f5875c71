"""The controller manager's configuration, filled from its flags (see `main`)."""
from __future__ import annotations

from dataclasses import dataclass, field

from kubepy.base.gate import DEFAULT, Gates
from kubepy.controllers.volume.recycle import Recycling


@dataclass(slots=True)
class Options:
    """Durations are seconds; names are the flags'."""

    cluster_cidr: tuple[str, ...] = ()
    service_cluster_ip_range: tuple[str, ...] = ()
    allocate_node_cidrs: bool = False
    node_cidr_mask_size_ipv4: int = 24
    node_cidr_mask_size_ipv6: int = 64
    cluster_name: str = "kubernetes"
    root_ca: str = ""
    """PEM of the cluster's CA bundle, published in every namespace."""
    cluster_signing_cert_file: str = ""
    cluster_signing_key_file: str = ""
    cluster_signing_duration: float = 365 * 86400.0
    node_monitor_period: float = 5.0
    node_monitor_grace_period: float = 50.0
    node_startup_grace_period: float = 60.0
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    unhealthy_zone_threshold: float = 0.55
    large_cluster_size_threshold: int = 50
    terminated_pod_gc_threshold: int = 12500
    endpoint_updates_batch_period: float = 0.0
    endpointslice_updates_batch_period: float = 0.0
    max_endpoints_per_slice: int = 100
    mirroring_batch_period: float = 0.0
    mirroring_max_endpoints: int = 1000
    resource_quota_sync_period: float = 300.0
    namespace_sync_period: float = 300.0
    pvclaimbinder_sync_period: float = 15.0
    hpa_sync_period: float = 15.0
    hpa_tolerance: float = 0.1
    hpa_downscale_stabilization: float = 300.0
    hpa_cpu_initialization_period: float = 300.0
    hpa_initial_readiness_delay: float = 30.0
    signers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Certificate and key files of signers' CAs where they are not the cluster's, by the signer's name."""
    local_path_node: str = ""
    """The node this manager runs on, for which it makes local-path volumes; "" for none."""
    local_path_directory: str = "/var/lib/kubepy/volumes"
    node_dns_service: str = ""
    """`namespace/name` of the Service whose endpoints are the DNS daemons of the nodes; "" for none."""
    service_account_private_key: bytes = field(default=b"", repr=False)
    """PEM of the key that signs legacy token secrets; empty: none are made."""
    legacy_token_clean_up_period: float = 365 * 86400.0
    load_balancer_pool: tuple[str, ...] = ()
    """CIDRs, ranges or addresses for services of type LoadBalancer; empty: there is no provider."""
    machine_file: str = ""
    """The operator's list of machines (see `cloud.inventory`); empty: nobody is asked about nodes."""
    kernel_routes: bool = False
    """Whether routes to the nodes' pods are made in this machine's kernel."""
    configure_cloud_routes: bool = True
    route_reconciliation_period: float = 10.0
    force_detach: bool = True
    """Whether volumes are detached from nodes that do not say that they are free, after six minutes."""
    shutdown_timeout: float = 10.0
    """Seconds that controllers have to end."""
    recycling: Recycling = field(default_factory=Recycling)
    gates: Gates = DEFAULT
    workers: dict[str, int] = field(default_factory=dict)
    """Workers by the name of the `--concurrent-NAME-syncs` flag."""

    def concurrency(self, name: str, default: int) -> int:
        return self.workers.get(name, default)
