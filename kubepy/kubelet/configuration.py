"""The `KubeletConfiguration` file (kubelet.config.k8s.io/v1beta1): every field is followed, or refused where it asks for what is not done.

Unknown fields are errors, as upstream's strict decoding has them. Fields that only tune upstream's own machinery (rates of its clients,
handlers for its profiler, rules it once wrote into iptables) are taken and have no effect: `_WITHOUT_EFFECT`.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from kubepy.api.scheduling import amount
from kubepy.base.flag import shown_duration
from kubepy.base.http.tls import CIPHERS, TLS13, VERSIONS
from kubepy.kubelet.cgroup.qos import qos_problems
from kubepy.kubelet.cpu.manager import OPTIONS
from kubepy.kubelet.settings import Settings, SettingsError, duration
from kubepy.kubelet.topology import POLICIES, topology_problems

_PLAIN = {
    "staticPodPath": "static_pod_path", "staticPodURL": "static_pod_url", "staticPodURLHeader": "static_pod_url_header",
    "address": "address", "port": "port", "readOnlyPort": "read_only_port", "healthzPort": "healthz_port",
    "healthzBindAddress": "healthz_bind_address", "tlsCertFile": "tls_cert_file", "tlsPrivateKeyFile": "tls_private_key_file",
    "maxPods": "max_pods", "podsPerCore": "pods_per_core", "podPidsLimit": "pod_pids_limit", "clusterDomain": "cluster_domain",
    "resolvConf": "resolv_conf", "cgroupDriver": "cgroup_driver", "cgroupRoot": "cgroup_root", "cgroupsPerQOS": "cgroups_per_qos",
    "cpuCFSQuota": "cpu_cfs_quota", "seccompDefault": "seccomp_default", "failSwapOn": "fail_swap_on",
    "nodeLeaseDurationSeconds": "node_lease_duration_seconds", "serializeImagePulls": "image_pull_serial",
    "maxParallelImagePulls": "image_pulls_parallel", "imagePullCredentialsVerificationPolicy": "image_verification_policy",
    "containerLogMaxFiles": "container_log_max_files", "imageGCHighThresholdPercent": "image_gc_high",
    "imageGCLowThresholdPercent": "image_gc_low", "registerNode": "register_node", "providerID": "provider_id",
    "podLogsDir": "pod_logs_dir", "containerRuntimeEndpoint": "runtime_endpoint", "systemReserved": "system_reserved",
    "kubeReserved": "kube_reserved", "evictionHard": "eviction_hard", "evictionSoft": "eviction_soft",
    "evictionMinimumReclaim": "eviction_minimum_reclaim", "evictionMaxPodGracePeriod": "eviction_max_pod_grace_period",
    "enableServer": "enable_server", "enableDebuggingHandlers": "debugging_handlers", "cpuManagerPolicy": "cpu_manager_policy",
    "reservedSystemCPUs": "reserved_system_cpus", "topologyManagerPolicy": "topology_manager_policy",
    "topologyManagerScope": "topology_manager_scope", "topologyManagerPolicyOptions": "topology_manager_options",
    "qosReserved": "qos_reserved", "kubeletCgroups": "kubelet_cgroups", "systemCgroups": "system_cgroups", "featureGates": "feature_gates",
    "memoryManagerPolicy": "memory_manager_policy", "configMapAndSecretChangeDetectionStrategy": "object_changes",
    "rotateCertificates": "rotate_certificates", "serverTLSBootstrap": "server_tls_bootstrap", "nodeStatusMaxImages": "max_images",
    "singleProcessOOMKill": "single_process_oom_kill", "failCgroupV1": "fail_cgroup_v1", "oomScoreAdj": "oom_score_adj",
    "maxOpenFiles": "max_open_files", "tlsMinVersion": "tls_min_version", 
    "imageServiceEndpoint": "image_endpoint",
    "protectKernelDefaults": "protect_kernel_defaults", "cpuManagerPolicyOptions": "cpu_manager_options",
    "enableSystemLogHandler": "system_log_handler", "enableSystemLogQuery": "system_log_query",
}
_DURATIONS = {
    "fileCheckFrequency": "file_check_frequency", "httpCheckFrequency": "http_check_frequency", "syncFrequency": "sync_frequency",
    "nodeStatusUpdateFrequency": "node_status_update_frequency", "nodeStatusReportFrequency": "node_status_report_frequency",
    "evictionPressureTransitionPeriod": "eviction_pressure_transition_period",
    "shutdownGracePeriod": "shutdown_grace_period", "shutdownGracePeriodCriticalPods": "shutdown_grace_period_critical_pods",
    "imageMinimumGCAge": "image_minimum_gc_age", "imageMaximumGCAge": "image_maximum_gc_age",
    "streamingConnectionIdleTimeout": "streaming_idle", "volumeStatsAggPeriod": "volume_stats_period",
    "containerLogMonitorInterval": "container_log_interval", "cpuManagerReconcilePeriod": "cpu_manager_period",
    "runtimeRequestTimeout": "runtime_timeout",
}
_MAY_BE_ZERO = {"shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "imageMaximumGCAge"}
_LISTS = {"reservedMemory": "reserved_memory", "shutdownGracePeriodByPodPriority": "shutdown_by_priority", "clusterDNS": "cluster_dns",
          "registerWithTaints": "register_with_taints", "preloadedImagesVerificationAllowlist": "image_verification_allowed",
          "allowedUnsafeSysctls": "allowed_unsafe_sysctls", "tlsCipherSuites": "tls_cipher_suites"}
_SPECIAL = {"apiVersion", "kind", "authentication", "authorization", "evictionSoftGracePeriod", "containerLogMaxSize", "crashLoopBackOff",
            "mergeDefaultEvictionSettings", "logging", "memorySwap", "userNamespaces"}
_WITHOUT_EFFECT = {
    "registryPullQPS", "registryBurst", "eventRecordQPS", "eventBurst", "kubeAPIQPS", "kubeAPIBurst", "contentType",
    "enableContentionProfiling", "enableProfilingHandler", "enableDebugFlagsHandler", 
    "makeIPTablesUtilChains", "iptablesMasqueradeBit", "iptablesDropBit", "hairpinMode", "podCIDR", "containerLogMaxWorkers",
    "kernelMemcgNotification", "showHiddenMetricsForVersion", "volumePluginDir", "memoryThrottlingFactor", "tlsCurvePreferences",
    "localStorageCapacityIsolation"}
_ONLY: dict[str, tuple[Any, ...]] = {
    "systemReservedCgroup": ("",), "kubeReservedCgroup": ("",),
    "enforceNodeAllocatable": (["pods"], ["none"], []), "enableControllerAttachDetach": (True,),
    "cpuCFSQuotaPeriod": ("100ms",), "tracing": ({},), "runOnce": (False,)}
"""What these may be; anything else asks for what this kubelet does not do."""
_MAPS = ("system_reserved", "kube_reserved", "eviction_hard", "eviction_soft", "eviction_soft_grace_period", "eviction_minimum_reclaim",
         "static_pod_url_header", "cpu_manager_options", "topology_manager_options", "qos_reserved", "feature_gates")


def load_file(path: str, base: Settings) -> Settings:
    """`base` with what the file says. Raises SettingsError."""
    return from_document(_read(path), base)


def _read(path: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"failed to load kubelet config file, path: {path}, error: {error}") from error
    if not isinstance(document, dict) or document.get("kind") != "KubeletConfiguration" or \
            not str(document.get("apiVersion", "")).startswith("kubelet.config.k8s.io/"):
        raise SettingsError(f"{path} is no kubelet.config.k8s.io/v1beta1 KubeletConfiguration")
    return document


def load_directory(path: str, base: Settings) -> Settings:
    """`base` with what the directory's `*.conf` files say, one after the other by name (--config-dir). Raises SettingsError."""
    if not Path(path).is_dir():
        raise SettingsError(f"failed to load kubelet config directory, path: {path}")
    for file in sorted(Path(path).rglob("*.conf")):
        base = from_document(_read(str(file)), base, merged=_MAPS)
    return base


def from_document(document: Mapping[str, Any], base: Settings, merged: Collection[str] = ()) -> Settings:
    """`merged` are mappings that join those of `base` instead of taking their place. Raises SettingsError."""
    known = {*_PLAIN, *_DURATIONS, *_LISTS, *_SPECIAL, *_WITHOUT_EFFECT, *_ONLY}
    if unknown := sorted(set(document) - known):
        raise SettingsError(", ".join(f'unknown field "{key}"' for key in unknown))
    for key, allowed in _ONLY.items():
        if document.get(key) is not None and document[key] not in allowed:
            raise SettingsError(f"invalid configuration: {key} {document[key]!r} is not supported by this kubelet, only "
                                + " or ".join(repr(value) for value in allowed))
    changes: dict[str, Any] = {}
    for table, read in ((_PLAIN, lambda value: value), (_DURATIONS, duration), (_LISTS, tuple)):
        for key, name in table.items():
            if document.get(key) is not None:
                changes[name] = read(document[key])
    for key in set(_DURATIONS) - _MAY_BE_ZERO:
        if changes.get(_DURATIONS[key]) == 0:  # kubeadm writes zeros where it means the default
            del changes[_DURATIONS[key]]
    _evictions(document, base, changes)
    authentication = document.get("authentication") or {}
    for path, name in ((("x509", "clientCAFile"), "client_ca_file"), (("anonymous", "enabled"), "anonymous_auth"),
                       (("webhook", "enabled"), "webhook_authn")):
        if (found := (authentication.get(path[0]) or {}).get(path[1])) is not None:
            changes[name] = found
    if (found := (document.get("authorization") or {}).get("mode")) is not None:
        changes["authorization_mode"] = found
    for holder, key, name in ((authentication.get("webhook"), "cacheTTL", "authn_ttl"),
                              ((document.get("authorization") or {}).get("webhook"), "cacheAuthorizedTTL", "authz_allowed_ttl"),
                              ((document.get("authorization") or {}).get("webhook"), "cacheUnauthorizedTTL", "authz_denied_ttl")):
        if (found := (holder or {}).get(key)) is not None and duration(found):  # zero means the default
            changes[name] = duration(found)
    if (found := document.get("containerLogMaxSize")) is not None:
        changes["container_log_max_size"] = amount("memory", found)
    if (found := (document.get("crashLoopBackOff") or {}).get("maxContainerRestartPeriod")) is not None:
        changes["crash_loop_max"] = duration(found)
    for section, key, name in (("memorySwap", "swapBehavior", "swap_behavior"), ("userNamespaces", "idsPerPod", "ids_per_pod"),
                               ("logging", "format", "log_format"), ("logging", "verbosity", "log_verbosity")):
        if found := (document.get(section) or {}).get(key):
            changes[name] = found
    for name in merged:
        if isinstance(changes.get(name), Mapping):
            changes[name] = {**getattr(base, name), **changes[name]}
    known_names = {entry.name for entry in fields(Settings)}
    return replace(base, **{name: value for name, value in changes.items() if name in known_names})


def _evictions(document: Mapping[str, Any], base: Settings, changes: dict[str, Any]) -> None:
    if (found := document.get("evictionSoftGracePeriod")) is not None:
        changes["eviction_soft_grace_period"] = {signal: duration(text) for signal, text in found.items()}
    if document.get("mergeDefaultEvictionSettings") and "eviction_hard" in changes:
        changes["eviction_hard"] = {**base.eviction_hard, **changes["eviction_hard"]}


def validate(settings: Settings) -> None:
    """What upstream's ValidateKubeletConfiguration checks of what is followed here. Raises SettingsError with all that is wrong."""
    wrong = [f"invalid configuration: {text}" for text in _problems(settings)]
    if wrong:
        raise SettingsError(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")


def _problems(settings: Settings) -> list[str]:
    found = []
    if settings.node_lease_duration_seconds <= 0:
        found.append("nodeLeaseDurationSeconds must be greater than 0")
    for key, flag, value in (("imageGCHighThresholdPercent", "image-gc-high-threshold", settings.image_gc_high),
                             ("imageGCLowThresholdPercent", "image-gc-low-threshold", settings.image_gc_low)):
        if not 0 <= value <= 100:
            found.append(f"{key} (--{flag}) {value} must be between 0 and 100, inclusive")
    if settings.image_gc_low >= settings.image_gc_high:
        found.append(f"imageGCLowThresholdPercent (--image-gc-low-threshold) {settings.image_gc_low} must be less than "
                     f"imageGCHighThresholdPercent (--image-gc-high-threshold) {settings.image_gc_high}")
    if settings.image_maximum_gc_age and settings.image_maximum_gc_age <= settings.image_minimum_gc_age:
        found.append("imageMaximumGCAge must be greater than imageMinimumGCAge")
    for key, flag, value in (("healthzPort", "healthz-port", settings.healthz_port),
                             ("readOnlyPort", "read-only-port", settings.read_only_port)):
        if not 0 <= value <= 65535:
            found.append(f"{key} (--{flag}) {value} must be between 0 and 65535, inclusive")
    if settings.enable_server and not 0 <= settings.port <= 65535:
        found.append(f"port (--port) {settings.port} must be between 1 and 65535, inclusive")
    for key, flag, value in (("maxPods", "max-pods", settings.max_pods), ("podsPerCore", "pods-per-core", settings.pods_per_core),
                             ("evictionMaxPodGracePeriod", "eviction-max-pod-grace-period", settings.eviction_max_pod_grace_period)):
        if value < 0:
            found.append(f"{key} (--{flag}) {value} must not be a negative number")
    if settings.image_pulls_parallel < 0:
        found.append(f"maxParallelImagePulls {settings.image_pulls_parallel} must be a positive number")
    if settings.image_pull_serial and settings.image_pulls_parallel > 1:
        found.append("maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) set to false: "
                     f"maxParallelImagePulls is {settings.image_pulls_parallel}")
    for key, flag, choice, allowed in (
            ("topologyManagerPolicy", "topology-manager-policy", settings.topology_manager_policy, POLICIES),
            ("topologyManagerScope", "topology-manager-scope", settings.topology_manager_scope, ("container", "pod")),
            ("memoryManagerPolicy", "memory-manager-policy", settings.memory_manager_policy, ("None", "Static")),
            ("cgroupDriver", "cgroup-driver", settings.cgroup_driver, ("cgroupfs", "systemd")),
            ("authorization.mode", "authorization-mode", settings.authorization_mode, ("Webhook", "AlwaysAllow"))):
        if choice not in allowed:
            found.append(f'{key} (--{flag}) "{choice}" must be one of: {list(allowed)}')
    if settings.swap_behavior not in ("NoSwap", "LimitedSwap"):
        found.append('memorySwap.swapBehavior must be one of: "", "LimitedSwap" or "NoSwap"')
    if settings.ids_per_pod < 65_536 or settings.ids_per_pod % 65_536:
        found.append(f"userNamespaces.idsPerPod: Invalid value: {settings.ids_per_pod}: must be a multiple of 65536")
    if settings.log_format not in ("text", "json"):
        found.append(f'logging.format: Invalid value: "{settings.log_format}": Unsupported log format')
    if settings.tls_min_version and settings.tls_min_version not in VERSIONS:
        found.append(f'tlsMinVersion "{settings.tls_min_version}" must be one of: {", ".join(VERSIONS)}')
    found += [f'tlsCipherSuites "{name}" is not supported' for name in settings.tls_cipher_suites if name not in (*CIPHERS, *TLS13)]
    found += [f'cpuManagerPolicyOptions "{name}" is not supported by this kubelet, only ' + " and ".join(OPTIONS)
              for name in settings.cpu_manager_options if name not in OPTIONS]
    found += [*topology_problems(settings.topology_manager_options), *qos_problems(settings.qos_reserved)]
    if settings.system_cgroups and settings.cgroup_root in ("", "/"):
        found.append("systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified")
    if settings.memory_manager_policy == "Static" and not settings.reserved_memory:
        found.append("memoryManagerPolicy Static requires reservedMemory for at least one NUMA node")
    if settings.object_changes not in ("Watch", "Cache", "Get"):
        found.append("configMapAndSecretChangeDetectionStrategy must be one of: Get, Cache, Watch")
    from kubepy.kubelet.image.record import POLICIES as VERIFICATION
    if settings.image_verification_policy not in VERIFICATION:
        found.append(f'imagePullCredentialsVerificationPolicy: Unsupported value: "{settings.image_verification_policy}"')
    if settings.shutdown_by_priority and (settings.shutdown_grace_period or settings.shutdown_grace_period_critical_pods):
        found.append("Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time")
    if settings.shutdown_grace_period_critical_pods > settings.shutdown_grace_period:
        found.append(f"shutdownGracePeriodCriticalPods {settings.shutdown_grace_period_critical_pods:g}s must be <= shutdownGracePeriod "
                     f"{settings.shutdown_grace_period:g}s")
    if 0 < settings.shutdown_grace_period < 1:
        found.append(f"shutdownGracePeriod {settings.shutdown_grace_period:g}s must be either zero or otherwise >= 1 sec")
    if not 1 <= settings.crash_loop_max <= 300:
        found.append(f"CrashLoopBackOff.MaxContainerRestartPeriod (got: {settings.crash_loop_max:g} seconds) must be set between 1s and "
                     "300s")
    if settings.container_log_max_files <= 1:
        found.append(f"containerLogMaxFiles {settings.container_log_max_files} must be greater than 1")
    for address in settings.cluster_dns:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            found.append(f"clusterDNS {address!r} is not an IP address")
    if not -1000 <= settings.oom_score_adj <= 1000:
        found.append(f"oomScoreAdj (--oom-score-adj) {settings.oom_score_adj} must be between -1000 and 1000, inclusive")
    return found


def document_of(settings: Settings) -> dict[str, Any]:
    """The effective KubeletConfiguration, as `/configz` shows it."""
    result: dict[str, Any] = {key: getattr(settings, name) for key, name in _PLAIN.items()}
    result.update({key: shown_duration(getattr(settings, name)) for key, name in _DURATIONS.items()})
    result.update({key: list(getattr(settings, name)) for key, name in _LISTS.items()})
    result["evictionSoftGracePeriod"] = {signal: shown_duration(value) for signal, value in settings.eviction_soft_grace_period.items()}
    result["authentication"] = {"x509": {"clientCAFile": settings.client_ca_file}, "anonymous": {"enabled": settings.anonymous_auth},
                                "webhook": {"enabled": settings.webhook_authn, "cacheTTL": shown_duration(settings.authn_ttl)}}
    result["authorization"] = {"mode": settings.authorization_mode,
                               "webhook": {"cacheAuthorizedTTL": shown_duration(settings.authz_allowed_ttl),
                                           "cacheUnauthorizedTTL": shown_duration(settings.authz_denied_ttl)}}
    result["memorySwap"] = {"swapBehavior": settings.swap_behavior}
    result["userNamespaces"] = {"idsPerPod": settings.ids_per_pod}
    result["logging"] = {"format": settings.log_format, "verbosity": settings.log_verbosity}
    result["containerLogMaxSize"] = str(settings.container_log_max_size)
    return result
