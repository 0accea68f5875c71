"""`kubepy kubelet`: flags, settings, start and stop.

The agent joins the mount namespace of its runtime when that is another one, so that what it mounts the runtime sees.
"""
from __future__ import annotations

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

import uvloop

from kubepy.base import log as logs
from kubepy.base import metrics
from kubepy.base.clock import Clock, SystemClock
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
from kubepy.kubelet.configuration import validate
from kubepy.kubelet.cpu.topology import read_nodes
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.feature import gates_of
from kubepy.kubelet.flag import parser, settings_of
from kubepy.kubelet.server.access import Access
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from kubepy.kubelet.settings import Settings, SettingsError
from kubepy.kubelet.topology import MAX_NODES, MOST_NODES

log = logs.get_logger("kubelet")
_JOINED = "KUBEPY_KUBELET_MOUNT_NAMESPACE"


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
        gates_of(settings).publish()
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
        most = int(settings.topology_manager_options.get(MOST_NODES, MAX_NODES))
        if settings.topology_manager_policy != "none" and len(set(read_nodes().values())) > most:
            raise SettingsError(f"unsupported on machines with more than {most} NUMA Nodes")
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
