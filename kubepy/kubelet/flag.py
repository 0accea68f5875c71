"""The kubelet's flags: their names and words, and the settings they make together with the file."""
from __future__ import annotations

import argparse
import socket
from dataclasses import replace
from typing import Any

from kubepy.base import gate
from kubepy.base.flag import add_boolean, comma_list, duration, mapping
from kubepy.kubelet.configuration import load_directory, load_file
from kubepy.kubelet.settings import Settings


def _names(text: str) -> tuple[str, ...]:
    return tuple(comma_list(text))


def _taints(text: str) -> tuple[dict[str, str], ...]:
    """`key=value:Effect,…`"""
    result = []
    for item in comma_list(text):
        head, colon, effect = item.rpartition(":")
        if not colon:
            raise ValueError(f"invalid taint {item!r}")
        key, _, value = head.partition("=")
        result.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    return tuple(result)


def _thresholds(text: str) -> dict[str, str]:
    """`memory.available<100Mi,…`"""
    return mapping(text, "<", "invalid eviction threshold {!r}, expected signal<limit")


def _headers(text: str) -> dict[str, list[str]]:
    """`name:value,…`; a name may come again."""
    found: dict[str, list[str]] = {}
    for item in comma_list(text):
        name, colon, value = item.partition(":")
        if not colon:
            raise ValueError(f"invalid header {item!r}")
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def _gates(text: str) -> dict[str, bool]:
    return gate.settings([text])


def _graces(text: str) -> dict[str, float]:
    return {signal: duration(value) for signal, value in mapping(text).items()}


_FLAGS: tuple[tuple[str, str, Any, str], ...] = (
    ("--kubeconfig", "kubeconfig", str, "kubeconfig with the server and this node's identity"),
    ("--bootstrap-kubeconfig", "bootstrap_kubeconfig", str,
     "kubeconfig with which to ask for this node's first certificate when --kubeconfig does not exist yet or has ended"),
    ("--hostname-override", "node_name", str, "name of the node (default: the host name)"),
    ("--node-ip", "node_ip", str, "address of the node, or one for each family, comma separated (default: of the default route)"),
    ("--container-runtime-endpoint", "runtime_endpoint", str, "socket of the container runtime"),
    ("--image-service-endpoint", "image_endpoint", str, "socket where images are asked for, when it is another"),
    ("--root-dir", "root_dir", str, "directory for pods and volumes"),
    ("--cert-dir", "cert_dir", str, "directory for certificates the kubelet makes itself"),
    ("--pod-manifest-path", "static_pod_path", str, "directory or file with static pods"),
    ("--manifest-url", "static_pod_url", str, "URL with a static pod, or a list of them"),
    ("--manifest-url-header", "static_pod_url_header", _headers, "headers for it, such as a:1,b:2"),
    ("--address", "address", str, "address to serve on"),
    ("--port", "port", int, "port of the kubelet's server"),
    ("--read-only-port", "read_only_port", int, "port without authentication; 0 for none"),
    ("--healthz-port", "healthz_port", int, "port of /healthz on the loopback; 0 for none"),
    ("--healthz-bind-address", "healthz_bind_address", str, "its address"),
    ("--serving-names", "serving_names", str, "with --rotate-server-certificates, which of the node's addresses are asked for: all, or ip"),
    ("--tls-cert-file", "tls_cert_file", str, "serving certificate; without it one is made"),
    ("--tls-private-key-file", "tls_private_key_file", str, "its private key"),
    ("--tls-min-version", "tls_min_version", str, "VersionTLS12 or VersionTLS13"),
    ("--tls-cipher-suites", "tls_cipher_suites", _names, "suites of TLS 1.2, as Go names them"),
    ("--client-ca-file", "client_ca_file", str, "CA of client certificates"),
    ("--authorization-mode", "authorization_mode", str, "Webhook or AlwaysAllow"),
    ("--cluster-dns", "cluster_dns", _names, "addresses of the cluster's DNS"),
    ("--cluster-domain", "cluster_domain", str, "DNS domain of the cluster"),
    ("--resolv-conf", "resolv_conf", str, "resolver configuration given to pods"),
    ("--node-labels", "node_labels", mapping, "labels the node registers with"),
    ("--register-with-taints", "register_with_taints", _taints, "taints the node registers with"),
    ("--provider-id", "provider_id", str, "the node's identity at its cloud provider"),
    ("--max-pods", "max_pods", int, "pods this node can run"),
    ("--pods-per-core", "pods_per_core", int, "pods per CPU; 0 for no limit"),
    ("--pod-max-pids", "pod_pids_limit", int, "processes a pod may have; -1 for no limit"),
    ("--image-credential-provider-config", "image_credential_provider_config", str, "file that names credential provider plugins"),
    ("--image-credential-provider-bin-dir", "image_credential_provider_bin_dir", str, "directory of these plugins"),
    ("--cgroup-driver", "cgroup_driver", str, "cgroupfs or systemd (a runtime that says which it uses is believed)"),
    ("--cgroup-root", "cgroup_root", str, "parent of all pods' cgroups"),
    ("--cpu-manager-policy", "cpu_manager_policy", str, "none, or static: whole CPUs for guaranteed pods that ask for them"),
    ("--memory-manager-policy", "memory_manager_policy", str, "None, or Static: memory of NUMA nodes for guaranteed pods"),
    ("--topology-manager-policy", "topology_manager_policy", str, "none, best-effort, restricted or single-numa-node"),
    ("--topology-manager-scope", "topology_manager_scope", str, "container or pod"),
    ("--reserved-cpus", "reserved_system_cpus", str, "CPUs no pod gets for itself, such as 0-1"),
    ("--topology-manager-policy-options", "topology_manager_options", mapping, "such as prefer-closest-numa-nodes=true"),
    ("--kubelet-cgroups", "kubelet_cgroups", str, "cgroup the kubelet puts itself into"),
    ("--system-cgroups", "system_cgroups", str, "cgroup for all processes that are in the root cgroup; wants --cgroup-root"),
    ("--qos-reserved", "qos_reserved", mapping, "share of what better pods ask for that others cannot use, such as memory=50%%"),
    ("--feature-gates", "feature_gates", _gates, "v1.36's feature gates, such as QOSReserved=true"),
    ("--system-reserved", "system_reserved", mapping, "resources kept for the system"),
    ("--kube-reserved", "kube_reserved", mapping, "resources kept for Kubernetes"),
    ("--eviction-hard", "eviction_hard", _thresholds, "thresholds at which pods are evicted at once, such as memory.available<100Mi"),
    ("--eviction-soft", "eviction_soft", _thresholds, "thresholds at which pods are evicted after a grace period"),
    ("--eviction-soft-grace-period", "eviction_soft_grace_period", _graces, "these grace periods, such as memory.available=1m30s"),
    ("--eviction-minimum-reclaim", "eviction_minimum_reclaim", mapping, "what must be free beyond a threshold before it is left"),
    ("--eviction-pressure-transition-period", "eviction_pressure_transition_period", duration, "how long a pressure is shown after it"),
    ("--eviction-max-pod-grace-period", "eviction_max_pod_grace_period", int, "seconds a pod gets at most at a soft threshold"),
    ("--sync-frequency", "sync_frequency", duration, "how often a pod is looked at"),
    ("--http-check-frequency", "http_check_frequency", duration, "how often the URL is asked for static pods"),
    ("--file-check-frequency", "file_check_frequency", duration, "how often static pods are looked for"),
    ("--node-status-update-frequency", "node_status_update_frequency", duration, "how often the node is looked at"),
    ("--allowed-unsafe-sysctls", "allowed_unsafe_sysctls", _names, "sysctls pods may set beside the safe ones"),
    ("--container-log-max-files", "container_log_max_files", int, "log files kept for a container"),
    ("--pod-logs-dir", "pod_logs_dir", str, "directory of the pods' logs"),
    ("--cni-conf-dir", "cni_conf_dir", str, "where to write the pod network's configuration; empty to leave that to a network add-on"),
    ("--cni-data-dir", "cni_data_dir", str, "where the address plugin keeps its leases"),
    ("--cni-bridge", "cni_bridge", str, "name of the pods' bridge"),
    ("--cni-mtu", "cni_mtu", int, "MTU of the pods' interfaces; 0 for the kernel's"),
    ("--network-ready-file", "network_ready_file", str, "no pod gets a network before the proxy has written this file in this boot"),
)
_BOOLEANS: tuple[tuple[str, str, str], ...] = (
    ("--rotate-certificates", "rotate_certificates", "ask for a new client certificate before the old one ends"),
    ("--rotate-server-certificates", "server_tls_bootstrap", "ask the cluster for the serving certificate, and renew it"),
    ("--register-node", "register_node", "register the node with the API server"),
    ("--protect-kernel-defaults", "protect_kernel_defaults", "refuse to start where the kernel is not set as it should be"),
    ("--fail-swap-on", "fail_swap_on", "refuse to start while swap is on"),
    ("--anonymous-auth", "anonymous_auth", "let requests without credentials through to authorization"),
    ("--authentication-token-webhook", "webhook_authn", "let the API server review bearer tokens"),
    ("--cgroups-per-qos", "cgroups_per_qos", "give each pod a cgroup in the QoS tree"),
    ("--cpu-cfs-quota", "cpu_cfs_quota", "enforce CPU limits"),
    ("--seccomp-default", "seccomp_default", "RuntimeDefault instead of Unconfined where a pod names no profile"),
    ("--serialize-image-pulls", "image_pull_serial", "pull one image after the other"),
)


def parser() -> argparse.ArgumentParser:
    defaults = Settings()
    result = argparse.ArgumentParser(prog="kubepy kubelet", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="The node agent: registers this machine as a node and runs its pods.\n\n"
                                     "  kubepy kubelet --kubeconfig /etc/kubernetes/kubelet.conf --config /var/lib/kubelet/config.yaml")
    result.add_argument("--config", default="", metavar="FILE", help="KubeletConfiguration file; flags win over it")
    result.add_argument("--config-dir", default="", metavar="DIRECTORY", help="directory of more such files (*.conf), which win over it")
    for flag, name, kind, text in _FLAGS:
        default = getattr(defaults, name)
        shown = f" (default {default})" if default not in ("", (), {}, 0) and name != "node_name" else ""
        result.add_argument(flag, dest=name, type=kind, default=None, metavar="VALUE", help=text + shown.replace("%", "%%"))
    for flag, name, text in _BOOLEANS:
        add_boolean(result, flag, getattr(defaults, name), text)
        result.set_defaults(**{flag.removeprefix("--").replace("-", "_"): None})
    result.add_argument("-v", "--v", dest="v", type=int, default=0, metavar="N", help="verbosity, 0 to 10 (default 0)")
    result.add_argument("--logging-format", default="text", choices=["text", "json"], help="form of log lines (default text)")
    return result


def settings_of(args: argparse.Namespace) -> Settings:
    """Defaults, then the file, then flags. Raises SettingsError."""
    settings = load_file(args.config, Settings()) if args.config else Settings()
    if args.config_dir:
        settings = load_directory(args.config_dir, settings)
    changes = {name: value for _, name, _, _ in _FLAGS if (value := getattr(args, name)) is not None}
    for flag, name, _ in _BOOLEANS:
        value = getattr(args, flag.removeprefix("--").replace("-", "_"))
        if value is not None:
            changes[name] = value
    settings = replace(settings, **changes)
    return replace(settings, node_name=(settings.node_name or socket.gethostname()).lower().strip())
