"""The kubelet's settings: what flags and the KubeletConfiguration file (`configuration`) say, flags winning."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class SettingsError(Exception):
    """A configuration that cannot be used; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the kubelet is told. Names follow KubeletConfiguration; durations are seconds."""

    node_name: str = ""
    root_dir: str = "/var/lib/kubelet"
    pod_logs_dir: str = "/var/log/pods"
    container_logs_dir: str = "/var/log/containers"
    cert_dir: str = ""
    kubeconfig: str = ""
    bootstrap_kubeconfig: str = ""
    rotate_certificates: bool = False
    server_tls_bootstrap: bool = False
    serving_names: str = "all"
    """Which of the node's addresses its serving certificate is to name: all, or ip (its IP addresses)."""
    runtime_endpoint: str = "unix:///run/containerd/containerd.sock"
    static_pod_path: str = ""
    static_pod_url: str = ""
    static_pod_url_header: Mapping[str, Sequence[str]] = field(default_factory=dict)
    file_check_frequency: float = 20.0
    http_check_frequency: float = 20.0
    sync_frequency: float = 60.0
    address: str = "0.0.0.0"
    port: int = 10250
    read_only_port: int = 0
    healthz_port: int = 10248
    healthz_bind_address: str = "127.0.0.1"
    tls_cert_file: str = ""
    tls_private_key_file: str = ""
    client_ca_file: str = ""
    anonymous_auth: bool = False
    webhook_authn: bool = True
    authorization_mode: str = "Webhook"
    authn_ttl: float = 120.0
    """Seconds for which a reviewed token is believed, and (below) what was allowed or not."""
    authz_allowed_ttl: float = 300.0
    authz_denied_ttl: float = 30.0
    node_ip: str = ""
    register_node: bool = True
    register_with_taints: tuple[Mapping[str, str], ...] = ()
    node_labels: Mapping[str, str] = field(default_factory=dict)
    provider_id: str = ""
    max_pods: int = 110
    pods_per_core: int = 0
    pod_pids_limit: int = -1
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: str = "/etc/resolv.conf"
    cgroup_driver: str = "cgroupfs"
    cgroup_root: str = "/"
    cgroups_per_qos: bool = True
    cpu_cfs_quota: bool = True
    seccomp_default: bool = False
    fail_swap_on: bool = True
    node_status_update_frequency: float = 10.0
    node_status_report_frequency: float = 300.0
    node_lease_duration_seconds: int = 40
    image_pull_serial: bool = True
    image_pulls_parallel: int = 0
    """At most so many at once when they are not serial; 0 for no limit."""
    image_credential_provider_config: str = ""
    image_credential_provider_bin_dir: str = ""
    image_verification_policy: str = "NeverVerifyPreloadedImages"
    image_verification_allowed: tuple[str, ...] = ()
    container_log_max_size: int = 10 << 20
    container_log_max_files: int = 5
    image_gc_high: int = 85
    image_gc_low: int = 80
    image_minimum_gc_age: float = 120.0
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: {
        "memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%",
        "imagefs.inodesFree": "5%"})
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_soft_grace_period: Mapping[str, float] = field(default_factory=dict)
    eviction_minimum_reclaim: Mapping[str, str] = field(default_factory=dict)
    eviction_pressure_transition_period: float = 300.0
    eviction_max_pod_grace_period: int = 0
    shutdown_grace_period: float = 0.0
    shutdown_grace_period_critical_pods: float = 0.0
    cpu_manager_policy: str = "none"
    reserved_system_cpus: str = ""
    topology_manager_policy: Literal["none", "best-effort", "restricted", "single-numa-node"] = "none"
    topology_manager_scope: Literal["container", "pod"] = "container"
    topology_manager_options: Mapping[str, str] = field(default_factory=dict)
    qos_reserved: Mapping[str, str] = field(default_factory=dict)
    """How much of what pods of better QoS ask for the others cannot use, such as memory: 50%."""
    kubelet_cgroups: str = ""
    """The cgroup this process puts itself into."""
    system_cgroups: str = ""
    """The cgroup for all processes that are in the root cgroup."""
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    memory_manager_policy: str = "None"
    reserved_memory: tuple[Mapping[str, object], ...] = ()
    """Memory of NUMA nodes no pod gets for itself: numaNode and limits of each."""
    shutdown_by_priority: tuple[Mapping[str, int], ...] = ()
    cni_conf_dir: str = ""
    """Where the pod network's configuration is written once the node has a pod CIDR; "" leaves CNI to others."""
    cni_data_dir: str = "/var/lib/cni/networks"
    cni_bridge: str = "cni0"
    cni_mtu: int = 0
    """0 leaves it to the kernel."""
    network_ready_file: str = ""
    """The node's network is not ready before this file has been written in this boot (by the proxy: `kubepy.base.boot`)."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    crash_loop_max: float = 300.0
    object_changes: Literal["Watch", "Cache", "Get"] = "Watch"
    streaming_idle: float = 4 * 3600.0
    enable_server: bool = True
    debugging_handlers: bool = True
    """exec, attach, logs and the like; without them the server only tells of itself."""
    system_log_handler: bool = True
    """The node's /var/log is served at /logs/; with `system_log_query` services are asked there too."""
    system_log_query: bool = False
    tls_min_version: str = ""
    tls_cipher_suites: tuple[str, ...] = ()
    """As Go names them; empty for the strong ones."""
    image_endpoint: str = ""
    """Where images are asked for, when that is not the runtime itself."""
    protect_kernel_defaults: bool = False
    cpu_manager_options: Mapping[str, str] = field(default_factory=dict)
    swap_behavior: str = "NoSwap"
    ids_per_pod: int = 65_536
    """User IDs of a pod with a user namespace of its own."""
    log_format: str = "text"
    log_verbosity: int = 0
    max_images: int = 50
    """Images the node's status lists; -1 for all."""
    image_maximum_gc_age: float = 0.0
    """Seconds after which an image nobody uses goes; 0 for never."""
    volume_stats_period: float = 60.0
    container_log_interval: float = 10.0
    cpu_manager_period: float = 10.0
    runtime_timeout: float = 120.0
    single_process_oom_kill: bool = False
    fail_cgroup_v1: bool = False
    oom_score_adj: int = -999
    max_open_files: int = 1_000_000

    @property
    def pki_dir(self) -> Path:
        return Path(self.cert_dir or f"{self.root_dir}/pki")

    @property
    def pods_dir(self) -> Path:
        return Path(self.root_dir, "pods")


def duration(text: str | float | int) -> float:
    """Seconds of a Go duration such as `1m30s`; a bare number is seconds. Raises SettingsError."""
    if isinstance(text, (int, float)):
        return float(text)
    total, number, unit = 0.0, "", ""
    for char in [*text.strip(), "0"]:
        if char.isdigit() or char in ".-":
            if unit:
                if unit not in _UNITS or not number:
                    raise SettingsError(f"not a duration: {text!r}")
                total, number, unit = total + float(number) * _UNITS[unit], "", ""
            number += char
        else:
            unit += char
    if number not in ("", "0") and text.strip() not in ("0", ""):
        raise SettingsError(f"not a duration: {text!r}")
    return total
