"""The proxy's flags, the KubeProxyConfiguration file, and what they mean for the backends."""
from __future__ import annotations

import argparse
from typing import Any

from kubepy.api.types import Object
from kubepy.base.flag import add_boolean, add_duration, comma_list, duration
from kubepy.client import daemon
from kubepy.proxy.mode import Settings
from kubepy.proxy.model import Family, LocalTraffic
from kubepy.proxy.tuning import Tuning

DESCRIPTION = """\
Makes Services reachable on this node: keeps the kernel's packet rules in step with Services and their endpoints. Needs root.

    kubepy proxy --kubeconfig proxy.conf --hostname-override node-1 --cluster-cidr 10.244.0.0/16
    kubepy proxy --cleanup          # takes every rule away again
"""
FAMILIES: tuple[Family, ...] = ("IPv4", "IPv6")
NETWORKS = ("none", "host-gw", "vxlan")


def parser() -> argparse.ArgumentParser:
    made = daemon.parser("kube-proxy", secure_port=0, description=DESCRIPTION, leader_elect=None)
    own = made.add_argument_group("proxy")
    own.add_argument("--config", default="", metavar="FILE", help="KubeProxyConfiguration; what it sets wins over flags")
    own.add_argument("--hostname-override", default="", metavar="NAME", help="this node's name (default: the host's)")
    own.add_argument("--proxy-mode", default="iptables", metavar="MODE", help="iptables (default), nftables or ipvs")
    own.add_argument("--cluster-cidr", default="", metavar="CIDRS", help="the pods' ranges: traffic from elsewhere to a cluster IP is "
                     "masqueraded")
    own.add_argument("--detect-local-mode", default="ClusterCIDR", metavar="MODE",
                     help="how pod traffic is told: ClusterCIDR, BridgeInterface, InterfaceNamePrefix")
    own.add_argument("--pod-bridge-interface", default="", metavar="NAME", help="the bridge, for BridgeInterface")
    own.add_argument("--pod-interface-name-prefix", default="", metavar="PREFIX", help="the prefix, for InterfaceNamePrefix")
    own.add_argument("--network-backend", default="none", choices=NETWORKS, help="also keep routes to the other nodes' pods: host-gw where "
                     "nodes share a network, vxlan otherwise; none (default) leaves that to an add-on")
    add_boolean(own, "--network-policy", False, "also keep NetworkPolicy objects in force for this node's pods (with nft)")
    own.add_argument("--network-ready-file", default="", metavar="FILE", help="written once network policies are in force for the first "
                     "time since this machine was started; the kubelet, given the same, starts no pods before (with --cleanup: removed)")
    add_boolean(own, "--masquerade-all", False, "masquerade all traffic to cluster IPs")
    own.add_argument("--iptables-masquerade-bit", type=int, default=14, metavar="N", help="bit of the mark for masquerading (default 14)")
    add_boolean(own, "--iptables-localhost-nodeports", True, "NodePorts answer on 127.0.0.1")
    add_duration(own, "--iptables-min-sync-period", "1s", "least time between two writes")
    add_duration(own, "--iptables-sync-period", "30s", "how often to look whether the rules are still there")
    ipvs = made.add_argument_group("proxy mode ipvs")
    ipvs.add_argument("--ipvs-scheduler", default="rr", metavar="NAME", help="how connections are balanced: rr (default), wrr, lc, wlc, "
                      "lblc, lblcr, sh, dh, sed, nq, fo, ovf, mh, twos, as far as the kernel has them")
    ipvs.add_argument("--ipvs-exclude-cidrs", type=comma_list, default=[], metavar="CIDRS", help="virtual servers of others, left alone")
    add_boolean(ipvs, "--ipvs-strict-arp", False, "answer ARP only for addresses of the asked interface")
    for name, what in (("tcp", "idle TCP connections"), ("tcpfin", "TCP connections after FIN"), ("udp", "UDP flows")):
        add_duration(ipvs, f"--ipvs-{name}-timeout", "0", f"of {what}; 0 leaves the kernel's")
    add_duration(ipvs, "--ipvs-min-sync-period", "1s", "least time between two writes")
    add_duration(ipvs, "--ipvs-sync-period", "30s", "how often to look whether everything is still there")
    flows = made.add_argument_group("connection tracking (0 leaves the kernel's own)")
    flows.add_argument("--conntrack-max-per-core", type=int, default=32768, metavar="N", help="connections held for each CPU")
    flows.add_argument("--conntrack-min", type=int, default=131072, metavar="N", help="connections held at least")
    add_duration(flows, "--conntrack-tcp-timeout-established", "24h", "of idle TCP connections")
    add_duration(flows, "--conntrack-tcp-timeout-close-wait", "1h", "of TCP connections closed by one side")
    add_boolean(flows, "--conntrack-tcp-be-liberal", False, "do not take packets outside of the window for invalid")
    add_duration(flows, "--conntrack-udp-timeout", "0", "of UDP packets without an answer")
    add_duration(flows, "--conntrack-udp-timeout-stream", "0", "of UDP flows that were answered")
    own.add_argument("--nodeport-addresses", type=comma_list, default=[], metavar="CIDRS", help="local addresses NodePorts answer on; "
                     "\"primary\" is the node's own (default: all; with nftables: primary)")
    own.add_argument("--healthz-bind-address", default="0.0.0.0:10256", metavar="IP:PORT", help="default 0.0.0.0:10256; empty: not served")
    own.add_argument("--metrics-bind-address", default="127.0.0.1:10249", metavar="IP:PORT", help="default 127.0.0.1:10249")
    add_boolean(own, "--cleanup", False, "remove all rules and exit")
    return made


def apply_config(args: argparse.Namespace, config: Object) -> None:
    """Sets what a KubeProxyConfiguration says. Raises ValueError."""
    if not isinstance(config, dict) or config.get("kind") != "KubeProxyConfiguration":
        raise ValueError("--config: not a KubeProxyConfiguration")
    if config.get("apiVersion") != "kubeproxy.config.k8s.io/v1alpha1":
        raise ValueError(f"--config: unknown version {config.get('apiVersion')!r}")
    mode = str(config.get("mode") or "iptables")
    local, tables, ipvs = config.get("detectLocal") or {}, config.get("iptables") or {}, config.get("ipvs") or {}
    if mode == "nftables":
        tables = config.get("nftables") or {}
    common, flows = ipvs if mode == "ipvs" else tables, config.get("conntrack") or {}
    values: dict[str, Any] = {
        "kubeconfig": (config.get("clientConnection") or {}).get("kubeconfig"), "proxy_mode": config.get("mode"),
        "cluster_cidr": config.get("clusterCIDR"), "hostname_override": config.get("hostnameOverride"),
        "detect_local_mode": config.get("detectLocalMode"), "pod_bridge_interface": local.get("bridgeInterface"),
        "pod_interface_name_prefix": local.get("interfaceNamePrefix"), "masquerade_all": tables.get("masqueradeAll"),
        "iptables_masquerade_bit": tables.get("masqueradeBit"), "iptables_localhost_nodeports": tables.get("localhostNodePorts"),
        "nodeport_addresses": config.get("nodePortAddresses"), "healthz_bind_address": config.get("healthzBindAddress"),
        "metrics_bind_address": config.get("metricsBindAddress"), "ipvs_scheduler": ipvs.get("scheduler"),
        "ipvs_exclude_cidrs": ipvs.get("excludeCIDRs"), "ipvs_strict_arp": ipvs.get("strictARP"),
        "conntrack_max_per_core": flows.get("maxPerCore"), "conntrack_min": flows.get("min"),
        "conntrack_tcp_be_liberal": flows.get("tcpBeLiberal"),
    }
    for flag, key in (("tcp_timeout_established", "tcpEstablishedTimeout"), ("tcp_timeout_close_wait", "tcpCloseWaitTimeout"),
                      ("udp_timeout", "udpTimeout"), ("udp_timeout_stream", "udpStreamTimeout")):
        values[f"conntrack_{flag}"] = None if flows.get(key) is None else duration(flows[key])
    periods = "ipvs" if mode == "ipvs" else "iptables"
    for name, value in ((f"{periods}_min_sync_period", common.get("minSyncPeriod")), (f"{periods}_sync_period", common.get("syncPeriod")),
                        ("ipvs_tcp_timeout", ipvs.get("tcpTimeout")), ("ipvs_tcpfin_timeout", ipvs.get("tcpFinTimeout")),
                        ("ipvs_udp_timeout", ipvs.get("udpTimeout"))):
        values[name] = duration(value) if value and value not in ("0s", 0) else None
    for name, value in values.items():
        if value not in (None, ""):
            setattr(args, name, value)


def settings_of(args: argparse.Namespace) -> dict[Family, Settings]:
    """What each family's backend is told; raises ValueError."""
    if not 0 <= args.iptables_masquerade_bit <= 31:
        raise ValueError("--iptables-masquerade-bit: must be within the range [0, 31]")
    found: dict[Family, Settings] = {}
    for family in FAMILIES:
        cidr = next((text for text in comma_list(args.cluster_cidr) if (":" in text) == (family == "IPv6")), "")
        if args.detect_local_mode == "ClusterCIDR":
            local = LocalTraffic(cidr=cidr)
        elif args.detect_local_mode == "BridgeInterface" and args.pod_bridge_interface:
            local = LocalTraffic(bridge=args.pod_bridge_interface)
        elif args.detect_local_mode == "InterfaceNamePrefix" and args.pod_interface_name_prefix:
            local = LocalTraffic(prefix=args.pod_interface_name_prefix)
        else:
            raise ValueError(f"--detect-local-mode {args.detect_local_mode}: not supported, or its own flag is missing")
        found[family] = Settings(
            local=local, masquerade_all=args.masquerade_all, mark=1 << args.iptables_masquerade_bit,
            localhost_node_ports=args.iptables_localhost_nodeports,
            every_address=bool(args.nodeport_addresses) and not _limited(args.nodeport_addresses, family),
            scheduler=args.ipvs_scheduler, exclude=tuple(args.ipvs_exclude_cidrs), strict_arp=args.ipvs_strict_arp,
            tcp_timeout=round(args.ipvs_tcp_timeout), tcp_fin_timeout=round(args.ipvs_tcpfin_timeout),
            udp_timeout=round(args.ipvs_udp_timeout), drop_invalid=not args.conntrack_tcp_be_liberal)
    return found


def tuning_of(args: argparse.Namespace) -> Tuning:
    return Tuning(args.conntrack_max_per_core, args.conntrack_min, args.conntrack_tcp_timeout_established,
                  args.conntrack_tcp_timeout_close_wait, args.conntrack_tcp_be_liberal, args.conntrack_udp_timeout,
                  args.conntrack_udp_timeout_stream)


def _limited(ranges: list[str], family: Family) -> bool:
    """Whether these ranges leave any of the family's addresses out."""
    mine = [text for text in ranges if text != "primary" and (":" in text) == (family == "IPv6")]
    return "primary" in ranges or (bool(mine) and not any(text.endswith("/0") for text in mine))
