"""`kubepy kubelet`: flags, settings, start and stop.

The agent joins the mount namespace of its runtime when that is another one, so that what it mounts the runtime sees.
"""
from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import socket
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from kubepy.base import log as logs
from kubepy.base import metrics
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.flag import add_boolean, comma_list, duration, mapping
from kubepy.base.http.tls import VERSIONS, ServerTls, openssl_names
from kubepy.base.task import Tasks
from kubepy.base.watched import Files
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import Config, ConfigError, find, load
from kubepy.client.serving import self_signed
from kubepy.kubelet import kernel
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.certificate.bootstrap import bootstrap, needed, rotating_config
from kubepy.kubelet.certificate.manager import Rotation
from kubepy.kubelet.certificate.request import CLIENT_SIGNER, SERVING_SIGNER, Wanted
from kubepy.kubelet.certificate.store import Store
from kubepy.kubelet.configuration import load_directory, load_file, validate
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.server.access import Access
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from kubepy.kubelet.settings import Settings, SettingsError

log = logs.get_logger("kubelet")
_JOINED = "KUBEPY_KUBELET_MOUNT_NAMESPACE"


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
    found = {}
    for item in comma_list(text):
        signal, less, limit = item.partition("<")
        if not less:
            raise ValueError(f"invalid eviction threshold {item!r}, expected signal<limit")
        found[signal] = limit
    return found


def _headers(text: str) -> dict[str, list[str]]:
    """`name:value,…`; a name may come again."""
    found: dict[str, list[str]] = {}
    for item in comma_list(text):
        name, colon, value = item.partition(":")
        if not colon:
            raise ValueError(f"invalid header {item!r}")
        found.setdefault(name.strip(), []).append(value.strip())
    return found


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


def join_runtime(endpoint: str, argv: list[str]) -> None:
    """Starts this program again inside the runtime's mount namespace when it is another than ours."""
    path = endpoint.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            pid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            theirs, ours = os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink("/proc/self/ns/mnt")
        except OSError as error:
            log.v(1).info("The runtime does not answer yet", endpoint=endpoint, err=error)
            return
    if theirs == ours or os.environ.get(_JOINED) == theirs:
        return
    log.info("Joining the runtime's mount namespace", namespace=theirs)
    environment = {**os.environ, _JOINED: theirs, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    arguments = [sys.executable, "-c", "import sys; from kubepy.kubelet.main import main; sys.exit(main(sys.argv[1:]))", *argv]
    os.execvpe("nsenter", ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", *arguments], environment)


def swap_on() -> bool:
    try:
        return len(Path("/proc/swaps").read_text().splitlines()) > 1
    except OSError:
        return False


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    logs.configure(args.v, json=args.logging_format == "json")
    try:
        settings = settings_of(args)
        validate(settings)
        logs.configure(max(args.v, settings.log_verbosity), json="json" in (args.logging_format, settings.log_format))
        if settings.protect_kernel_defaults and (wrong := kernel.problems()):
            raise SettingsError(f"failed to start ContainerManager: {wrong}")
        if settings.fail_cgroup_v1 and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            raise SettingsError("kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be "
                                "removed in a future release")
        if settings.fail_swap_on and swap_on():
            raise SettingsError("running with swap on is not supported, please disable swap or set --fail-swap-on flag to false")
        if settings.cpu_manager_policy not in ("none", "static"):
            raise SettingsError(f'unknown policy: "{settings.cpu_manager_policy}"')
        if settings.cpu_manager_policy == "static" and not (settings.reserved_system_cpus or settings.system_reserved.get("cpu")
                                                            or settings.kube_reserved.get("cpu")):
            raise SettingsError("static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
        if missing := sorted(set(settings.eviction_soft) - set(settings.eviction_soft_grace_period)):
            raise SettingsError(f"grace period must be specified for the soft eviction threshold {missing[0]}")
        if os.geteuid() != 0:
            raise SettingsError("the kubelet must run as root")
        config = _identity(settings)
    except (SettingsError, ConfigError) as error:
        log.error("Cannot start", error)
        return 1
    join_runtime(settings.runtime_endpoint, argv)
    prepare_process(settings)
    return uvloop.run(_run(settings, config))


def prepare_process(settings: Settings) -> None:
    """As many open files and as little danger from the OOM killer as configured, where the machine lets us."""
    try:
        most = settings.max_open_files
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError) as error:
        log.v(1).info("The limit of open files stays", err=error)
    try:
        Path("/proc/self/oom_score_adj").write_text(str(settings.oom_score_adj))
    except OSError as error:
        log.v(1).info("The OOM score stays", err=error)


def _identity(settings: Settings) -> Config | None:
    """The kubeconfig's; None when the first certificate must be asked for. Raises ConfigError."""
    if settings.bootstrap_kubeconfig:
        if not settings.kubeconfig:
            raise SettingsError("--bootstrap-kubeconfig needs --kubeconfig, the file to write")
        if needed(settings.kubeconfig, time.time()):
            load(settings.bootstrap_kubeconfig)  # what is wrong with it is said now
            return None
    return find(settings.kubeconfig)


async def _first_identity(settings: Settings, clock: Clock, stopping: asyncio.Event) -> Config | None:
    """Asks for the node's certificate; None when stopped before it came."""
    config = load(settings.bootstrap_kubeconfig)
    client = HttpClient(config, user_agent="kubelet", connections=4)
    tasks = Tasks("bootstrap", clock)
    try:
        job = tasks.start(bootstrap(client, config, node_name=settings.node_name, kubeconfig=settings.kubeconfig,
                                    directory=settings.pki_dir, clock=clock), "certificate")
        stop = tasks.start(stopping.wait(), "stop")
        await asyncio.wait({job, stop}, return_when=asyncio.FIRST_COMPLETED)
        return load(settings.kubeconfig) if job.done() else None
    finally:
        await tasks.stop()
        await client.close()


async def _run(settings: Settings, config: Config | None) -> int:
    clock = SystemClock()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if config is None and (config := await _first_identity(settings, clock, stopping)) is None:
        return 0
    client_store = Store(settings.pki_dir, "kubelet-client")
    if settings.rotate_certificates:
        config = rotating_config(config, client_store, clock.now())
    client = HttpClient(config, user_agent="kubelet", connections=128)
    runtime = GrpcRuntime(settings.runtime_endpoint, settings.runtime_timeout, settings.image_endpoint)
    settings = await _believe_runtime(settings, runtime)
    kubelet = Kubelet(settings, client, runtime, clock)
    statistics = kubelet.statistics
    metrics.REGISTRY.register(kubelet.volume_statistics)
    listeners: list[Listener] = []
    try:
        if settings.enable_server and settings.port:
            tls = _tls(settings, clock.now())
            kubelet.tasks.keep(lambda: tls.keep_fresh(5.0), "tls")
            if settings.server_tls_bootstrap and not settings.tls_cert_file:
                rotation = Rotation(Store(settings.pki_dir, "kubelet-server"), client, clock, lambda: _serving_wish(kubelet))
                kubelet.tasks.keep(rotation.run, "serving-certificate")
            files = Files(clock)
            app = App(settings, kubelet.pods, runtime, statistics, clock, Access(settings, client, clock, files))
            kubelet.tasks.keep(files.keep, "authorities")
            listeners.append(Listener(app))
            await listeners[-1].start(settings.address, settings.port, tls.context)
        for port, host in ((settings.read_only_port, settings.address), (settings.healthz_port, settings.healthz_bind_address)):
            if port:
                app = App(settings, kubelet.pods, runtime, statistics, clock, None, read_only=True)
                listeners.append(Listener(app))
                await listeners[-1].start(host, port, None)
        if settings.rotate_certificates:
            mine = Wanted(CLIENT_SIGNER, settings.node_name)
            kubelet.tasks.keep(Rotation(client_store, client, clock, lambda: mine).run, "client-certificate")
        await kubelet.start()
        await stopping.wait()
        log.info("Stopping; pods keep running")
        return 0
    except OSError as error:
        log.error("Cannot serve", error, address=f"{settings.address}:{settings.port}")
        return 1
    finally:
        await kubelet.stop()
        for listener in listeners:
            await listener.stop()
        await runtime.close()
        await client.close()


async def _believe_runtime(settings: Settings, runtime: GrpcRuntime) -> Settings:
    """A runtime that tells its cgroup driver (containerd 2) knows better than a flag."""
    try:
        driver = await runtime.cgroup_driver()
    except CriError as error:
        log.v(1).info("The runtime does not tell its cgroup driver", err=error)
        return settings
    return replace(settings, cgroup_driver=driver) if driver else settings


def _serving_wish(kubelet: Kubelet) -> Wanted | None:
    """The names and addresses the node is reported with; None until it is registered."""
    node = kubelet.node.node
    addresses = ((node or {}).get("status") or {}).get("addresses") or ()
    names = frozenset(entry["address"] for entry in addresses
                      if kubelet.settings.serving_names != "ip" or str(entry["type"]).endswith("IP"))
    return Wanted(SERVING_SIGNER, kubelet.settings.node_name, names) if names else None


def _tls(settings: Settings, now: float) -> ServerTls:
    """From files; or a certificate made once and kept in --cert-dir, which with --rotate-server-certificates only serves until the
    cluster has signed one (known difference: upstream refuses connections until then)."""
    if settings.tls_cert_file:
        return _server_tls(settings, settings.tls_cert_file, settings.tls_private_key_file)
    directory = settings.pki_dir
    directory.mkdir(parents=True, exist_ok=True)
    if settings.server_tls_bootstrap:
        store = Store(directory, "kubelet-server")
        current = store.current()
        if current is None or current.not_after <= now:
            store.put(self_signed(settings.node_name), now)
        return _server_tls(settings, str(store.path), str(store.path))
    path = directory / "kubelet.pem"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(self_signed(settings.node_name))
    return _server_tls(settings, str(path), str(path))


def _server_tls(settings: Settings, certificate: str, key: str) -> ServerTls:
    return ServerTls(certificate, key, [settings.client_ca_file] if settings.client_ca_file else [], judge_later=True,
                     minimum=VERSIONS[settings.tls_min_version or "VersionTLS12"], ciphers=openssl_names(settings.tls_cipher_suites))
