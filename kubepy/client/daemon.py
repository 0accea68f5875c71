"""What all component daemons share: flags, the run loop, signals, leadership, the health server.

    def main(argv):
        parser = daemon.parser("kube-scheduler", secure_port=10259, description=...)
        args = parser.parse_args(argv)
        return daemon.run("kube-scheduler", args, work)

    async def work(daemon: Daemon) -> None: ...     # runs until cancelled; under the lease when --leader-elect

The process ends with 0 after SIGTERM or SIGINT, with 1 when leadership is lost or the work fails (its supervisor starts it again).
"""
from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from kubepy import KUBERNETES_VERSION
from kubepy.api.errors import ApiError
from kubepy.api.resource import CONFIGMAPS
from kubepy.base import garbage, gate, metrics
from kubepy.base import log as logs
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.flag import add_boolean, add_duration, comma_list
from kubepy.base.http.tls import CIPHERS, TLS13, VERSIONS, openssl_names
from kubepy.base.task import Tasks
from kubepy.client import flag
from kubepy.client.delegated import Delegated, Lifetimes
from kubepy.client.events import EventRecorder
from kubepy.client.http import HttpClient
from kubepy.client.interface import Client
from kubepy.client.kubeconfig import ConfigError, find
from kubepy.client.leader import LeaderElector, LeadershipLost, new_identity
from kubepy.client.serving import Handler, Health, HealthServer, ServingTls

log = logs.get_logger("daemon")


@dataclass(slots=True)
class Daemon:
    """What a component's work is given."""

    name: str
    args: argparse.Namespace
    client: Client
    clock: Clock
    tasks: Tasks
    health: Health
    config: dict[str, Any] = field(default_factory=dict)
    """Shown by /configz; the component adds its own."""


_ACCEPTED = ("--cert-dir", "--vmodule", "--log-flush-frequency", "--show-hidden-metrics-for-version",
             *(f"--requestheader-{name}" for name in ("client-ca-file", "allowed-names", "extra-headers-prefix", "group-headers",
                                                      "uid-headers", "username-headers")))
"""Flags of the Go components that change nothing here: no front proxy is believed, a certificate that is made stays in memory."""
Work = Callable[[Daemon], Awaitable[None]]


def parser(name: str, *, secure_port: int, description: str, leader_elect: bool | None = True,
           switchable: frozenset[str] = frozenset()) -> argparse.ArgumentParser:
    """The flags every component has. `leader_elect` is its default, None where there is no leader (one per node); `switchable` are the
    feature gates of which it has both states."""
    result = argparse.ArgumentParser(prog=f"kubepy {name.removeprefix('kube-')}", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    api = result.add_argument_group("API server")
    api.add_argument("--kubeconfig", default="", metavar="FILE", help="kubeconfig with the server and this component's identity; "
                     "without it $KUBECONFIG, then the pod's service account")
    api.add_argument("--master", default="", metavar="URL", help="address of the API server, instead of the kubeconfig's")
    for option, default in (("--kube-api-qps", 0.0), ("--kube-api-burst", 0.0)):
        api.add_argument(option, type=float, default=default, metavar="N", help="accepted for compatibility: fairness is the server's")
    api.add_argument("--kube-api-content-type", default="application/json", metavar="TYPE", help="accepted for compatibility: always JSON")
    serving = result.add_argument_group("serving health and metrics")
    serving.add_argument("--bind-address", default="0.0.0.0", metavar="IP", help="address to listen on (default 0.0.0.0)")
    serving.add_argument("--secure-port", type=int, default=secure_port, metavar="PORT",
                         help="HTTPS port for /healthz, /livez, /readyz, /metrics, /configz, /statusz, /flagz; 0 serves nothing (default "
                              f"{secure_port})")
    serving.add_argument("--tls-cert-file", default="", metavar="FILE", help="serving certificate; without it one is made at start")
    serving.add_argument("--tls-private-key-file", default="", metavar="FILE", help="its private key")
    serving.add_argument("--client-ca-file", default="", metavar="FILE",
                         help="CA of client certificates (default: what the cluster publishes)")
    for what, option in (("token", "--authentication-kubeconfig"), ("access", "--authorization-kubeconfig")):
        serving.add_argument(option, default="", metavar="FILE", help=f"kubeconfig for {what} reviews (default: --kubeconfig)")
    for option, text in (("--authentication-token-webhook-cache-ttl", "what a token review said"),
                       ("--authorization-webhook-cache-authorized-ttl", "that somebody may"),
                       ("--authorization-webhook-cache-unauthorized-ttl", "that somebody may not")):
        add_duration(serving, option, "10s", f"how long it is remembered {text}")
    add_boolean(serving, "--authentication-skip-lookup", False, "do not ask the cluster for its CA of client certificates")
    flag.add_serving(serving)
    serving.add_argument("--tls-min-version", default="VersionTLS12", choices=list(VERSIONS), help="oldest TLS (default VersionTLS12)")
    serving.add_argument("--tls-cipher-suites", type=_suites, default=[], metavar="NAMES", help="suites of TLS 1.2, as Go names them")
    serving.add_argument("--authorization-always-allow-paths", type=comma_list, default=["/healthz", "/readyz", "/livez"],
                         metavar="PATHS", help="paths that need no authorization (default /healthz,/readyz,/livez)")
    if leader_elect is not None:
        leader = result.add_argument_group("leader election")
        add_boolean(leader, "--leader-elect", leader_elect, "work only while holding the lease")
        add_duration(leader, "--leader-elect-lease-duration", "15s", "how long others wait for a leader that is silent")
        add_duration(leader, "--leader-elect-renew-deadline", "10s", "how long the leader works without renewing")
        add_duration(leader, "--leader-elect-retry-period", "2s", "time between attempts")
        leader.add_argument("--leader-elect-resource-lock", default="leases", choices=["leases"], help="kind of lock")
        leader.add_argument("--leader-elect-resource-name", default=name, metavar="NAME", help=f"name of the lease (default {name})")
        leader.add_argument("--leader-elect-resource-namespace", default="kube-system", metavar="NS", help="its namespace")
    logging = result.add_argument_group("logging")
    logging.add_argument("-v", "--v", dest="v", type=int, default=0, metavar="N", help="verbosity, 0 to 10 (default 0)")
    gate.add_flag(result.add_argument_group("features"), switchable)
    same = result.add_argument_group("accepted for compatibility")
    for option in _ACCEPTED:
        same.add_argument(option, default="", metavar="X", help=argparse.SUPPRESS)
    for option in ("--profiling", "--contention-profiling", "--authentication-tolerate-lookup-failure"):
        add_boolean(same, option, True, argparse.SUPPRESS)
    flag.add_others(result)
    result.add_argument("--version", action="version", version=f"Kubernetes {KUBERNETES_VERSION}", help="print the version and end")
    logging.add_argument("--logging-format", default="text", choices=["text", "json"], help="form of log lines (default text)")
    return result


def _suites(text: str) -> list[str]:
    names = comma_list(text)
    if unknown := [name for name in names if name not in (*CIPHERS, *TLS13)]:
        raise argparse.ArgumentTypeError(f"not supported: {', '.join(unknown)}")
    return names


def run(name: str, args: argparse.Namespace, work: Work, *, extra: Mapping[str, Handler] | None = None,
        config: dict[str, Any] | None = None, prepare: Callable[[Daemon], None] | None = None) -> int:
    """Runs the component until a signal; returns the exit code. `prepare` is called before it asks for the lease: what a leader needs
    to begin at once can be got while another one leads."""
    garbage.spare()
    logs.configure(args.v, json=args.logging_format == "json")
    metrics.hide(args.disabled_metrics)
    try:
        return uvloop.run(_main(name, args, work, extra or {}, config or {}, prepare))
    except ConfigError as error:
        log.error("Cannot start", error)
        return 1


async def _main(name: str, args: argparse.Namespace, work: Work, extra: Mapping[str, Handler], config: dict[str, Any],
                prepare: Callable[[Daemon], None] | None) -> int:
    clock = SystemClock()
    found = find(args.kubeconfig, server=args.master)
    args.feature_gates.publish()
    client = HttpClient(found, user_agent=name)
    leader_client = HttpClient(found, user_agent=f"{name}/leader-election", timeout=5.0, connections=2)
    daemon = Daemon(name, args, client, clock, Tasks(name, clock), Health(), config)
    stopping = asyncio.Event()
    _watch_signals(stopping)
    server: HealthServer | None = None
    log.info("Starting", component=name, pid=os.getpid(), server=found.server)
    try:
        server = await _serve(daemon, extra)
        if prepare is not None:
            prepare(daemon)
        job = daemon.tasks.start(_lead(daemon, leader_client, work), "work")
        stop = daemon.tasks.start(_wait(stopping), "stop")
        await asyncio.wait({job, stop}, return_when=asyncio.FIRST_COMPLETED)
        if job.done():
            if (error := job.exception()) is not None and not isinstance(error, LeadershipLost):
                log.error("Stopping: the work failed", error)
            return 1
        log.info("Stopping", component=name)
        return 0
    except OSError as error:
        log.error("Cannot serve", error, address=f"{args.bind_address}:{args.secure_port}")
        return 1
    finally:
        await daemon.tasks.stop()
        if server is not None:
            await server.stop()
        await client.close()
        await leader_client.close()


async def _lead(daemon: Daemon, client: Client, work: Work) -> None:
    args = daemon.args
    if not getattr(args, "leader_elect", False):
        await work(daemon)
        return
    identity = new_identity()
    recorder = EventRecorder(client, daemon.name)
    recorder.start(daemon.tasks)
    elector = LeaderElector(
        client, args.leader_elect_resource_name, identity, namespace=args.leader_elect_resource_namespace,
        lease_duration=args.leader_elect_lease_duration, renew_deadline=args.leader_elect_renew_deadline,
        retry_period=args.leader_elect_retry_period, clock=daemon.clock,
        on_elected=lambda lease: recorder.event(lease, "Normal", "LeaderElection", f"{identity} became leader"))
    daemon.health.live["leaderElection"] = elector.healthy
    await elector.run(lambda: work(daemon))


async def _serve(daemon: Daemon, extra: Mapping[str, Handler]) -> HealthServer | None:
    args = daemon.args
    if not args.secure_port:
        return None
    client_ca = _read(args.client_ca_file) if args.client_ca_file else b""
    tls = ServingTls(args.tls_cert_file, args.tls_private_key_file, client_ca, socket.gethostname(), minimum=VERSIONS[args.tls_min_version],
                     ciphers=openssl_names(args.tls_cipher_suites), named=args.tls_sni_cert_key)
    delegated = Delegated(_reviewer(daemon, args.authentication_kubeconfig), _reviewer(daemon, args.authorization_kubeconfig),
                          daemon.clock, tuple(args.authorization_always_allow_paths), Lifetimes(
                              args.authentication_token_webhook_cache_ttl, args.authorization_webhook_cache_authorized_ttl,
                              args.authorization_webhook_cache_unauthorized_ttl))
    server = HealthServer(daemon.health, delegated, lambda: daemon.config, extra, name=daemon.name, flags=vars(args))
    await server.start(args.bind_address, args.secure_port, tls.context, shared=args.permit_port_sharing)
    daemon.tasks.start(tls.keep_current(), "tls")
    if not client_ca and not args.authentication_skip_lookup:
        daemon.tasks.keep(lambda: _published_ca(daemon, tls), "client-ca")
    return server


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _reviewer(daemon: Daemon, kubeconfig: str) -> Client:
    return HttpClient(find(kubeconfig), user_agent=daemon.name, timeout=10, connections=4) if kubeconfig else daemon.client


async def _published_ca(daemon: Daemon, tls: ServingTls) -> None:
    """Trusts the client CA that the API server publishes for delegated authentication, as soon as it can be read."""
    while True:
        try:
            found = await daemon.client.get(CONFIGMAPS, "extension-apiserver-authentication", "kube-system")
        except (ApiError, ConnectionError) as error:
            log.v(2).info("The cluster's client CA is not known yet", err=error)
            await daemon.clock.sleep(30)
            continue
        if bundle := (found.get("data") or {}).get("client-ca-file"):
            tls.trust(bundle.encode())
        return


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _watch_signals(stopping: asyncio.Event) -> None:
    """The first signal stops cleanly, the second at once."""

    def asked(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked, number)
