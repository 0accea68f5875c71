"""`kubepy proxy`: flags, KubeProxyConfiguration, clean-up."""
from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from kubepy.api.types import Object
from kubepy.base import log as logs
from kubepy.base.flag import add_boolean, add_duration, comma_list, duration
from kubepy.client import daemon
from kubepy.client.informer import InformerFactory
from kubepy.proxy import health
from kubepy.proxy.backend import Backend, BackendError
from kubepy.proxy.iptables.backend import IptablesBackend
from kubepy.proxy.iptables.rule import Options as RuleOptions
from kubepy.proxy.model import Family
from kubepy.proxy.syncer import Options, Syncer

log = logs.get_logger("proxy")

DESCRIPTION = """\
Makes Services reachable on this node: keeps the kernel's packet rules in step with Services and their endpoints. Needs root.

    kubepy proxy --kubeconfig proxy.conf --hostname-override node-1 --cluster-cidr 10.244.0.0/16
    kubepy proxy --cleanup          # takes every rule away again
"""
MODES = ("iptables",)
NETWORKS = ("none", "host-gw", "vxlan")


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    try:
        if args.config:
            apply_config(args, yaml.safe_load(Path(args.config).read_text()))
        if args.proxy_mode not in MODES:
            raise ValueError(f"--proxy-mode {args.proxy_mode}: not supported; supported: {', '.join(MODES)}")
        rules = rule_options(args)
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(f"kubepy proxy: {error}", file=sys.stderr)
        return 1
    if args.cleanup:
        return _cleanup(args)

    async def work(process: daemon.Daemon) -> None:
        await _work(process, rules)

    return daemon.run("kube-proxy", args, work)


def _parser() -> argparse.ArgumentParser:
    parser = daemon.parser("kube-proxy", secure_port=0, description=DESCRIPTION, leader_elect=None)
    own = parser.add_argument_group("proxy")
    own.add_argument("--config", default="", metavar="FILE", help="KubeProxyConfiguration; what it sets wins over flags")
    own.add_argument("--hostname-override", default="", metavar="NAME", help="this node's name (default: the host's)")
    own.add_argument("--proxy-mode", default="iptables", metavar="MODE", help="iptables (default)")
    own.add_argument("--cluster-cidr", default="", metavar="CIDRS", help="the pods' ranges: traffic from elsewhere to a cluster IP is "
                     "masqueraded")
    own.add_argument("--detect-local-mode", default="ClusterCIDR", metavar="MODE",
                     help="how pod traffic is told: ClusterCIDR, BridgeInterface, InterfaceNamePrefix")
    own.add_argument("--pod-bridge-interface", default="", metavar="NAME", help="the bridge, for BridgeInterface")
    own.add_argument("--pod-interface-name-prefix", default="", metavar="PREFIX", help="the prefix, for InterfaceNamePrefix")
    own.add_argument("--network-backend", default="none", choices=NETWORKS, help="also keep routes to the other nodes' pods: host-gw where "
                     "nodes share a network, vxlan otherwise; none (default) leaves that to an add-on")
    add_boolean(own, "--masquerade-all", False, "masquerade all traffic to cluster IPs")
    own.add_argument("--iptables-masquerade-bit", type=int, default=14, metavar="N", help="bit of the mark for masquerading (default 14)")
    add_boolean(own, "--iptables-localhost-nodeports", True, "NodePorts answer on 127.0.0.1")
    add_duration(own, "--iptables-min-sync-period", "1s", "least time between two writes")
    add_duration(own, "--iptables-sync-period", "30s", "how often to look whether the rules are still there")
    own.add_argument("--nodeport-addresses", type=comma_list, default=[], metavar="CIDRS", help="local addresses NodePorts answer on "
                     "(default: all)")
    own.add_argument("--healthz-bind-address", default="0.0.0.0:10256", metavar="IP:PORT", help="default 0.0.0.0:10256; empty: not served")
    own.add_argument("--metrics-bind-address", default="127.0.0.1:10249", metavar="IP:PORT", help="default 127.0.0.1:10249")
    add_boolean(own, "--cleanup", False, "remove all rules and exit")
    return parser


def apply_config(args: argparse.Namespace, config: Object) -> None:
    """Sets what a KubeProxyConfiguration says. Raises ValueError."""
    if not isinstance(config, dict) or config.get("kind") != "KubeProxyConfiguration":
        raise ValueError("--config: not a KubeProxyConfiguration")
    if config.get("apiVersion") != "kubeproxy.config.k8s.io/v1alpha1":
        raise ValueError(f"--config: unknown version {config.get('apiVersion')!r}")
    local, tables = config.get("detectLocal") or {}, config.get("iptables") or {}
    values: dict[str, Any] = {
        "kubeconfig": (config.get("clientConnection") or {}).get("kubeconfig"), "proxy_mode": config.get("mode"),
        "cluster_cidr": config.get("clusterCIDR"), "hostname_override": config.get("hostnameOverride"),
        "detect_local_mode": config.get("detectLocalMode"), "pod_bridge_interface": local.get("bridgeInterface"),
        "pod_interface_name_prefix": local.get("interfaceNamePrefix"), "masquerade_all": tables.get("masqueradeAll"),
        "iptables_masquerade_bit": tables.get("masqueradeBit"), "iptables_localhost_nodeports": tables.get("localhostNodePorts"),
        "nodeport_addresses": config.get("nodePortAddresses"), "healthz_bind_address": config.get("healthzBindAddress"),
        "metrics_bind_address": config.get("metricsBindAddress"),
    }
    for name, value in (("iptables_min_sync_period", tables.get("minSyncPeriod")), ("iptables_sync_period", tables.get("syncPeriod"))):
        values[name] = duration(value) if value and value not in ("0s", 0) else None
    for name, value in values.items():
        if value not in (None, ""):
            setattr(args, name, value)


def rule_options(args: argparse.Namespace) -> dict[Family, RuleOptions]:
    """How each family's rules are made; raises ValueError."""
    found: dict[Family, RuleOptions] = {}
    families: tuple[Family, ...] = ("IPv4", "IPv6")
    for family in families:
        local = remote = ""
        cidrs = [text for text in comma_list(args.cluster_cidr) if (":" in text) == (family == "IPv6")]
        if args.detect_local_mode == "ClusterCIDR":
            if cidrs:
                local, remote = f"-s {cidrs[0]}", f"! -s {cidrs[0]}"
        elif args.detect_local_mode == "BridgeInterface" and args.pod_bridge_interface:
            local, remote = f"-i {args.pod_bridge_interface}", f"! -i {args.pod_bridge_interface}"
        elif args.detect_local_mode == "InterfaceNamePrefix" and args.pod_interface_name_prefix:
            local, remote = f"-i {args.pod_interface_name_prefix}+", f"! -i {args.pod_interface_name_prefix}+"
        else:
            raise ValueError(f"--detect-local-mode {args.detect_local_mode}: not supported, or its own flag is missing")
        if not 0 <= args.iptables_masquerade_bit <= 31:
            raise ValueError("--iptables-masquerade-bit: must be within the range [0, 31]")
        found[family] = RuleOptions(local_match=local, remote_match=remote, masquerade_all=args.masquerade_all,
                                    mark=1 << args.iptables_masquerade_bit, localhost_node_ports=args.iptables_localhost_nodeports)
    return found


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists()


def _cleanup(args: argparse.Namespace) -> int:
    logs.configure(args.v)

    async def run() -> int:
        code = 0
        families: tuple[Family, ...] = ("IPv4", "IPv6") if _has_ipv6() else ("IPv4",)
        for family in families:
            try:
                await IptablesBackend(family=family).cleanup()
            except BackendError as error:
                log.error("Cannot clean up", error, family=family)
                code = 1
        from kubepy.proxy.network import agent, kernel  # netlink is slow to import

        try:
            await agent.cleanup()
        except kernel.NetworkError as error:
            log.error("Cannot clean up the pod network", error)
            code = 1
        return code

    return asyncio.run(run())


async def _work(process: daemon.Daemon, rules: dict[Family, RuleOptions]) -> None:
    args = process.args
    backends: dict[Family, Backend] = {}
    for family, rule in rules.items():
        backend = IptablesBackend(rule, family)
        if family == "IPv4" or (_has_ipv6() and await backend.available()):
            backends[family] = backend
    status = health.ProxyHealth(process.clock, max(60.0, 2 * args.iptables_sync_period))
    ports = health.HealthCheckPorts(status)
    options = Options(node=args.hostname_override or socket.gethostname().lower(), min_period=args.iptables_min_sync_period,
                      check_period=args.iptables_sync_period, node_port_ranges=args.nodeport_addresses,
                      local_addresses=_local_addresses() if args.nodeport_addresses else ())
    syncer = Syncer(backends, options, process.clock, status, ports)
    factory = InformerFactory(process.client)
    syncer.register(factory)
    if args.network_backend != "none":
        from kubepy.proxy.network.agent import NetworkAgent  # netlink is slow to import, and only needed here

        pods = next((text for text in comma_list(args.cluster_cidr) if ":" not in text), "")
        network = NetworkAgent(options.node, args.network_backend, pods, process.clock)
        network.register(factory)
        process.tasks.keep(network.run, "network")
    factory.start(process.tasks)
    runners: list[web.AppRunner] = []

    async def mode(request: web.Request) -> web.Response:
        return web.Response(text=args.proxy_mode)

    async def fine(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    try:
        if args.healthz_bind_address:
            runners.append(await health.start(_address(args.healthz_bind_address), {
                "/healthz": status.answer_healthz, "/livez": status.answer_livez}))
        if args.metrics_bind_address:
            runners.append(await health.start(_address(args.metrics_bind_address), {
                "/metrics": health.answer_metrics, "/proxyMode": mode, "/healthz": fine}))
        await syncer.run(factory)
    finally:
        for runner in runners:
            await runner.cleanup()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)


def _local_addresses() -> list[str]:
    """Every address of every interface."""
    from pyroute2 import IPRoute  # only needed where --nodeport-addresses is given, and slow to import

    with IPRoute() as netlink:
        return [address for entry in netlink.get_addr() if (address := entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))]
