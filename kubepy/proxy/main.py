"""`kubepy proxy`: starts the parts; `--cleanup`."""
from __future__ import annotations

import argparse
import asyncio
import gc
import shutil
import socket
import sys
from pathlib import Path

import yaml
from aiohttp import web

from kubepy.base import log as logs
from kubepy.base import slis
from kubepy.base.flag import comma_list
from kubepy.client import daemon
from kubepy.client.events import EventRecorder
from kubepy.client.informer import InformerFactory
from kubepy.client.serving import answer_slis, zpages
from kubepy.proxy import config, health, tuning
from kubepy.proxy.backend import Backend, BackendError
from kubepy.proxy.mode import MODES, Settings, make
from kubepy.proxy.model import Family
from kubepy.proxy.policy import enforcer
from kubepy.proxy.syncer import Options, Syncer

log = logs.get_logger("proxy")


def main(argv: list[str]) -> int:
    args = config.parser().parse_args(argv)
    try:
        if args.config:
            config.apply_config(args, yaml.safe_load(Path(args.config).read_text()))
        if args.proxy_mode not in MODES:
            raise ValueError(f"--proxy-mode {args.proxy_mode}: not supported; supported: {', '.join(MODES)}")
        settings = config.settings_of(args)
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(f"kubepy proxy: {error}", file=sys.stderr)
        return 1
    if args.cleanup:
        return _cleanup(args)

    async def work(process: daemon.Daemon) -> None:
        await _work(process, settings)

    return daemon.run("kube-proxy", args, work)


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists()


def _cleanup(args: argparse.Namespace) -> int:
    logs.configure(args.v)
    if args.network_ready_file:
        Path(args.network_ready_file).unlink(missing_ok=True)

    async def run() -> int:
        code = 0
        for mode in MODES:
            if not await _remove(mode):
                code = 1
        from kubepy.proxy.network import agent, kernel  # netlink is slow to import

        try:
            await agent.cleanup()
        except kernel.NetworkError as error:
            log.error("Cannot clean up the pod network", error)
            code = 1
        if shutil.which("nft"):
            try:
                await enforcer.cleanup()
            except BackendError as error:
                log.error("Cannot clean up network policies", error)
                code = 1
        return code

    return asyncio.run(run())


async def _remove(mode: str) -> bool:
    """Takes away all that this mode has ever made; whether that worked. A mode whose kernel part or program is missing has made nothing."""
    fine = True
    for family in config.FAMILIES if _has_ipv6() else config.FAMILIES[:1]:
        backend = make(mode, Settings(), family)
        if not await backend.available():
            continue
        try:
            await backend.cleanup()
        except BackendError as error:
            log.error("Cannot clean up", error, mode=mode, family=family)
            fine = False
    return fine


async def _work(process: daemon.Daemon, settings: dict[Family, Settings]) -> None:
    args = process.args
    backends: dict[Family, Backend] = {}
    for family, setting in settings.items():
        backend = make(args.proxy_mode, setting, family)
        if (family == "IPv4" or _has_ipv6()) and await backend.available():
            backends[family] = backend
    if "IPv4" not in backends:
        missing = " (modules ip_vs and ip_vs_rr, programs ipset and iptables)" if args.proxy_mode == "ipvs" else ""
        raise BackendError(f"--proxy-mode {args.proxy_mode}: this machine's kernel or programs cannot do it{missing}; see above")
    for mode in MODES:
        if mode != args.proxy_mode:
            for family in backends:
                if await make(mode, Settings(), family).left_over():
                    log.info("Removing the rules of another mode", mode=mode, family=family)
                    await _remove(mode)
    tuning.tune(config.tuning_of(args))
    name = args.hostname_override or socket.gethostname().lower()
    ipvs = args.proxy_mode == "ipvs"
    check = args.ipvs_sync_period if ipvs else args.iptables_sync_period
    status = health.ProxyHealth(process.clock, max(60.0, 2 * check))
    recorder = EventRecorder(process.client, "kube-proxy", host=name)
    recorder.start(process.tasks)
    ports = health.HealthCheckPorts(status, recorder, name)
    options = Options(node=name, min_period=args.ipvs_min_sync_period if ipvs else args.iptables_min_sync_period,
                      check_period=check, node_port_ranges=args.nodeport_addresses,
                      local_addresses=_local_addresses() if args.nodeport_addresses else ())
    syncer = Syncer(backends, options, process.clock, status, ports)
    factory = InformerFactory(process.client)
    syncer.register(factory)
    if args.network_backend != "none":
        from kubepy.proxy.network.agent import NetworkAgent  # netlink is slow to import, and only needed here

        network = NetworkAgent(options.node, args.network_backend, comma_list(args.cluster_cidr), process.clock)
        network.register(factory)
        process.tasks.keep(network.run, "network")
    if args.network_policy:
        policies = enforcer.Enforcer(options.node, process.clock, Path(args.network_ready_file) if args.network_ready_file else None)
        policies.register(factory)
        process.tasks.keep(policies.run, "policy")
    gc.set_threshold(50_000, 20, 50)  # thousands of endpoints are no garbage
    factory.start(process.tasks)
    runners: list[web.AppRunner] = []

    async def shown_mode(request: web.Request) -> web.Response:
        return web.Response(text=args.proxy_mode)

    async def fine(request: web.Request) -> web.Response:
        slis.observe("ping", "healthz", True)
        return web.Response(text="ok")

    try:
        if args.healthz_bind_address:
            runners.append(await health.start(_address(args.healthz_bind_address), {
                "/healthz": status.answer_healthz, "/livez": status.answer_livez}))
        if args.metrics_bind_address:
            runners.append(await health.start(_address(args.metrics_bind_address), {
                "/metrics": health.answer_metrics, "/metrics/slis": answer_slis, "/proxyMode": shown_mode, "/healthz": fine,
                **zpages("kube-proxy", vars(args), ("/healthz", "/metrics", "/proxyMode"))}))
        await syncer.run(factory)
    finally:
        for runner in runners:
            await runner.cleanup()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _local_addresses() -> list[str]:
    """Every address of every interface."""
    from pyroute2 import IPRoute  # only needed where --nodeport-addresses is given, and slow to import

    with IPRoute() as netlink:
        return [address for entry in netlink.get_addr() if (address := entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))]
