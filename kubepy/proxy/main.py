"""`kubepy proxy`: reads flags and file, starts the parts, ends with a clear error where the machine cannot do it."""
from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import orjson
import yaml
from aiohttp import web

from kubepy.api.errors import ApiError
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base import log as logs
from kubepy.base import slis
from kubepy.base.flag import comma_list
from kubepy.client import daemon
from kubepy.client.events import EventRecorder
from kubepy.client.informer import InformerFactory
from kubepy.client.serving import answer_slis, zpages
from kubepy.proxy import cleanup, configuration, flag, health, serving, tuning
from kubepy.proxy.backend import Backend, BackendError
from kubepy.proxy.mode import Settings, make
from kubepy.proxy.model import Family
from kubepy.proxy.policy import enforcer
from kubepy.proxy.syncer import Options, Syncer

log = logs.get_logger("proxy")


def main(argv: list[str]) -> int:
    args = flag.parser().parse_args(argv)
    try:
        if args.config:
            configuration.apply(args, yaml.safe_load(Path(args.config).read_text()))
        flag.check(args)
        if args.write_config_to:
            Path(args.write_config_to).write_text(yaml.safe_dump(configuration.show(args)))
            return 0
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(f"kubepy proxy: {error}", file=sys.stderr)
        return 1
    args.hostname_override = args.hostname_override.strip().lower() or socket.gethostname().lower()
    if args.cleanup:
        logs.configure(args.v)
        return asyncio.run(cleanup.everything(args))
    if args.init_only:
        logs.configure(args.v)
        try:
            return asyncio.run(_initialize(args))
        except BackendError as error:
            log.error("Cannot set the kernel up", error)
            return 1
    return daemon.run("kube-proxy", args, _work)


async def _initialize(args: argparse.Namespace) -> int:
    """What needs more rights than to change the network."""
    tuning.tune(flag.tuning_of(args))
    for backend in (await _backends(args.proxy_mode, flag.settings_of(args))).values():
        backend.prepare()
    return 0


async def _work(process: daemon.Daemon) -> None:
    args = process.args
    ranges = await _pod_ranges(process) if args.detect_local_mode == "NodeCIDR" else ()
    backends = await _backends(args.proxy_mode, flag.settings_of(args, ranges))
    await cleanup.other_modes(args.proxy_mode, backends)
    tuning.tune(flag.tuning_of(args))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(args.oom_score_adj))  # noqa: ASYNC240 - the kernel answers at once
    name = args.hostname_override
    ipvs = args.proxy_mode == "ipvs"
    check = args.ipvs_sync_period if ipvs else args.iptables_sync_period
    status = health.ProxyHealth(process.clock, max(60.0, 2 * check), backends)
    recorder = EventRecorder(process.client, "kube-proxy", host=name)
    recorder.start(process.tasks)
    node = {"kind": "Node", "metadata": {"name": name, "uid": name}}
    recorder.event(node, "Normal", "Starting", "")
    ports = health.HealthCheckPorts(status, recorder, name)
    syncer = Syncer(backends, Options(
        node=name, min_period=args.ipvs_min_sync_period if ipvs else args.iptables_min_sync_period, check_period=check,
        node_port_ranges=args.nodeport_addresses, local_addresses=_local_addresses, own_address=args.bind_address),
        process.clock, status, ports)
    factory = InformerFactory(process.client)
    syncer.register(factory)
    if args.network_backend != "none":
        from kubepy.proxy.network.agent import NetworkAgent  # netlink is slow to import, and only needed here

        network = NetworkAgent(name, args.network_backend, comma_list(args.cluster_cidr), process.clock)
        network.register(factory)
        process.tasks.keep(network.run, "network")
    if args.network_policy:
        policies = enforcer.Enforcer(name, process.clock, Path(args.network_ready_file) if args.network_ready_file else None, ipvs=ipvs)
        policies.register(factory)
        process.tasks.keep(policies.run, "policy")
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if args.detect_local_mode == "NodeCIDR":
        _end_when_ranges_change(factory, name, ranges, ended)
    factory.start(process.tasks)
    _serve(process, status, recorder, node, ended)
    done, _ = await asyncio.wait({process.tasks.start(syncer.run(factory), "syncer"), ended}, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


async def _backends(mode: str, settings: dict[Family, Settings]) -> dict[Family, Backend]:
    found: dict[Family, Backend] = {}
    for family in cleanup.families():
        backend = make(mode, settings[family], family)
        if await backend.available():
            found[family] = backend
    if "IPv4" not in found:
        missing = " (modules ip_vs and ip_vs_rr, programs ipset and iptables)" if mode == "ipvs" else ""
        raise BackendError(f"--proxy-mode {mode}: this machine's kernel or programs cannot do it{missing}; see above")
    return found


async def _pod_ranges(process: daemon.Daemon) -> tuple[str, ...]:
    """The node's, as soon as it has any."""
    while True:
        try:
            node = await process.client.get(NODES, process.args.hostname_override)
            if ranges := _ranges(node):
                return ranges
            log.info("Waiting for the node to get its pod CIDRs", node=process.args.hostname_override)
        except (ApiError, ConnectionError) as error:
            log.info("Waiting for the node", node=process.args.hostname_override, err=error)
        await process.clock.sleep(1)


def _ranges(node: Object) -> tuple[str, ...]:
    return tuple((node.get("spec") or {}).get("podCIDRs") or ())


def _end_when_ranges_change(factory: InformerFactory, name: str, ranges: Sequence[str], ended: asyncio.Future[None]) -> None:
    def seen(node: Object) -> None:
        if _ranges(node) != ranges and not ended.done():
            ended.set_exception(BackendError(f"the node's pod CIDRs have changed from {ranges} to {_ranges(node)}: starting again"))

    factory.informer(NODES, field_selector=f"metadata.name={name}").add_handler(seen, lambda _, new: seen(new))


def _serve(process: daemon.Daemon, status: health.ProxyHealth, recorder: EventRecorder, node: Object, ended: asyncio.Future[None]) -> None:
    args = process.args
    config = orjson.dumps({"kubeproxy.config.k8s.io": configuration.show(args)})

    async def shown_mode(request: web.Request) -> web.Response:
        return web.Response(text=args.proxy_mode, headers={"X-Content-Type-Options": "nosniff"})

    async def shown_config(request: web.Request) -> web.Response:
        return web.Response(body=config, content_type="application/json")

    async def fine(request: web.Request) -> web.Response:
        slis.observe("ping", "healthz", True)
        return web.Response(text="ok")

    def keep(what: str, address: str, routes: serving.Routes) -> None:
        def refused(error: OSError) -> None:
            message = f"failed to start {what} on {address}: {error}"
            log.error("Cannot serve", error, what=what, address=address)
            if what == "proxy healthz":
                recorder.event(node, "Warning", "FailedToStartProxierHealthcheck", message)
            if args.bind_address_hard_fail and not ended.done():
                ended.set_exception(BackendError(message))

        if address:
            process.tasks.keep(lambda: serving.keep(flag.endpoint(address), routes, process.clock, refused), what)

    keep("proxy healthz", args.healthz_bind_address, {"/healthz": status.answer_healthz, "/livez": status.answer_livez})
    keep("metrics server", args.metrics_bind_address, {
        "/metrics": health.answer_metrics, "/metrics/slis": answer_slis, "/proxyMode": shown_mode, "/configz": shown_config,
        "/healthz": fine, **zpages("kube-proxy", vars(args), ("/healthz", "/metrics", "/proxyMode", "/configz"))})


def _local_addresses() -> list[str]:
    """Every address of every interface."""
    from pyroute2 import IPRoute  # only needed where --nodeport-addresses is given, and slow to import

    with IPRoute() as netlink:
        return [address for entry in netlink.get_addr() if (address := entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))]
