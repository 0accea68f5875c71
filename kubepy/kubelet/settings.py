"""The kubelet's settings: flags and the `KubeletConfiguration` file (kubelet.config.k8s.io/v1beta1), flags winning."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml

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
    shutdown_by_priority: tuple[Mapping[str, int], ...] = ()
    cni_conf_dir: str = ""
    """Where the pod network's configuration is written once the node has a pod CIDR; "" leaves CNI to others."""
    cni_data_dir: str = "/var/lib/cni/networks"
    cni_bridge: str = "cni0"
    cni_mtu: int = 0
    """0 leaves it to the kernel."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    crash_loop_max: float = 300.0
    object_changes: Literal["Watch", "Cache", "Get"] = "Watch"
    streaming_idle: float = 4 * 3600.0
    enable_server: bool = True

    @property
    def pki_dir(self) -> Path:
        return Path(self.cert_dir or f"{self.root_dir}/pki")

    @property
    def pods_dir(self) -> Path:
        return Path(self.root_dir, "pods")


_FILE_KEYS = {
    "staticPodPath": "static_pod_path", "staticPodURL": "static_pod_url",
    "staticPodURLHeader": "static_pod_url_header", "address": "address", "port": "port",
    "readOnlyPort": "read_only_port", "healthzPort": "healthz_port", "healthzBindAddress": "healthz_bind_address",
    "tlsCertFile": "tls_cert_file", "tlsPrivateKeyFile": "tls_private_key_file", "maxPods": "max_pods", "podsPerCore": "pods_per_core",
    "podPidsLimit": "pod_pids_limit", "clusterDomain": "cluster_domain", "resolvConf": "resolv_conf", "cgroupDriver": "cgroup_driver",
    "cgroupRoot": "cgroup_root", "cgroupsPerQOS": "cgroups_per_qos", "cpuCFSQuota": "cpu_cfs_quota", "seccompDefault": "seccomp_default",
    "failSwapOn": "fail_swap_on", "nodeLeaseDurationSeconds": "node_lease_duration_seconds", "serializeImagePulls": "image_pull_serial",
    "maxParallelImagePulls": "image_pulls_parallel", "imagePullCredentialsVerificationPolicy": "image_verification_policy",
    "containerLogMaxFiles": "container_log_max_files", "imageGCHighThresholdPercent": "image_gc_high",
    "imageGCLowThresholdPercent": "image_gc_low", "registerNode": "register_node", "providerID": "provider_id",
    "podLogsDir": "pod_logs_dir", "containerRuntimeEndpoint": "runtime_endpoint", "systemReserved": "system_reserved",
    "kubeReserved": "kube_reserved", "evictionHard": "eviction_hard", "enableServer": "enable_server",
    "evictionSoft": "eviction_soft", "evictionMinimumReclaim": "eviction_minimum_reclaim",
    "evictionMaxPodGracePeriod": "eviction_max_pod_grace_period",
    "cpuManagerPolicy": "cpu_manager_policy", "reservedSystemCPUs": "reserved_system_cpus",
    "topologyManagerPolicy": "topology_manager_policy", "topologyManagerScope": "topology_manager_scope",
    "configMapAndSecretChangeDetectionStrategy": "object_changes",
    "rotateCertificates": "rotate_certificates", "serverTLSBootstrap": "server_tls_bootstrap",
}
_FILE_DURATIONS = {
    "fileCheckFrequency": "file_check_frequency", "httpCheckFrequency": "http_check_frequency", "syncFrequency": "sync_frequency",
    "nodeStatusUpdateFrequency": "node_status_update_frequency", "nodeStatusReportFrequency": "node_status_report_frequency",
    "evictionPressureTransitionPeriod": "eviction_pressure_transition_period",
    "shutdownGracePeriod": "shutdown_grace_period", "shutdownGracePeriodCriticalPods": "shutdown_grace_period_critical_pods",
    "imageMinimumGCAge": "image_minimum_gc_age", "streamingConnectionIdleTimeout": "streaming_idle",
}
_FILE_LISTS = {"shutdownGracePeriodByPodPriority": "shutdown_by_priority",
               "clusterDNS": "cluster_dns", "registerWithTaints": "register_with_taints",
              "preloadedImagesVerificationAllowlist": "image_verification_allowed", "allowedUnsafeSysctls": "allowed_unsafe_sysctls"}


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


def load_file(path: str, base: Settings) -> Settings:
    """`base` with what the KubeletConfiguration file says. Raises SettingsError."""
    try:
        document = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"failed to load kubelet config file {path}: {error}") from error
    if document.get("kind") != "KubeletConfiguration" or not str(document.get("apiVersion", "")).startswith("kubelet.config.k8s.io/"):
        raise SettingsError(f"{path} is no kubelet.config.k8s.io/v1beta1 KubeletConfiguration")
    return from_document(document, base)


def from_document(document: Mapping[str, Any], base: Settings) -> Settings:
    changes: dict[str, Any] = {}
    for key, name in _FILE_KEYS.items():
        if document.get(key) is not None:
            changes[name] = document[key]
    for key, name in _FILE_DURATIONS.items():
        if document.get(key) is not None:
            changes[name] = duration(document[key])
    for key, name in _FILE_LISTS.items():
        if document.get(key) is not None:
            changes[name] = tuple(document[key])
    if (found := document.get("evictionSoftGracePeriod")) is not None:
        changes["eviction_soft_grace_period"] = {signal: duration(text) for signal, text in found.items()}
    authentication = document.get("authentication") or {}
    if (found := (authentication.get("x509") or {}).get("clientCAFile")) is not None:
        changes["client_ca_file"] = found
    if (found := (authentication.get("anonymous") or {}).get("enabled")) is not None:
        changes["anonymous_auth"] = found
    if (found := (authentication.get("webhook") or {}).get("enabled")) is not None:
        changes["webhook_authn"] = found
    if (found := (document.get("authorization") or {}).get("mode")) is not None:
        changes["authorization_mode"] = found
    if (found := document.get("containerLogMaxSize")) is not None:
        from kubepy.api.scheduling import amount
        changes["container_log_max_size"] = amount("memory", found)
    if (found := (document.get("crashLoopBackOff") or {}).get("maxContainerRestartPeriod")) is not None:
        changes["crash_loop_max"] = duration(found)
    known = {entry.name for entry in fields(Settings)}
    return replace(base, **{name: value for name, value in changes.items() if name in known})


def document_of(settings: Settings) -> dict[str, Any]:
    """The effective KubeletConfiguration, as `/configz` shows it."""
    result: dict[str, Any] = {key: getattr(settings, name) for key, name in _FILE_KEYS.items()}
    result.update({key: _go_duration(getattr(settings, name)) for key, name in _FILE_DURATIONS.items()})
    result.update({key: list(getattr(settings, name)) for key, name in _FILE_LISTS.items()})
    result["evictionSoftGracePeriod"] = {signal: _go_duration(value) for signal, value in settings.eviction_soft_grace_period.items()}
    result["authentication"] = {"x509": {"clientCAFile": settings.client_ca_file}, "anonymous": {"enabled": settings.anonymous_auth},
                                "webhook": {"enabled": settings.webhook_authn, "cacheTTL": "2m0s"}}
    result["authorization"] = {"mode": settings.authorization_mode,
                               "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"}}
    return result


def _go_duration(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, whole = divmod(rest, 60)
    return f"{hours}h{minutes}m{whole}s" if hours else f"{minutes}m{whole}s" if minutes else f"{whole}s"
