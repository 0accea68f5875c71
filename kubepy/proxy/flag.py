"""The proxy's flags, and what they mean for the backends."""
from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Iterable, Sequence

from kubepy.base.flag import add_boolean, add_duration, comma_list
from kubepy.client import daemon
from kubepy.proxy.mode import MODES, Settings
from kubepy.proxy.model import FAMILIES, Family, LocalTraffic
from kubepy.proxy.tuning import Tuning

DESCRIPTION = """\
Makes Services reachable on this node: keeps the kernel's packet rules in step with Services and their endpoints. Needs root.

    kubepy proxy --kubeconfig proxy.conf --hostname-override node-1 --cluster-cidr 10.244.0.0/16
    kubepy proxy --cleanup          # takes every rule away again
"""
NETWORKS = ("none", "host-gw", "vxlan")
LOCAL_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")


def parser() -> argparse.ArgumentParser:
    made = daemon.parser("kube-proxy", secure_port=0, description=DESCRIPTION, leader_elect=None)
    own = made.add_argument_group("proxy")
    own.add_argument("--config", default="", metavar="FILE", help="KubeProxyConfiguration; what it sets wins over flags")
    own.add_argument("--write-config-to", default="", metavar="FILE", help="write what the flags say as a KubeProxyConfiguration and exit")
    own.add_argument("--hostname-override", default="", metavar="NAME", help="this node's name (default: the host's)")
    own.add_argument("--proxy-mode", default="iptables", metavar="MODE", help="iptables (default), nftables or ipvs")
    own.add_argument("--cluster-cidr", default="", metavar="CIDRS", help="the pods' ranges: traffic from elsewhere to a cluster IP is "
                     "masqueraded")
    own.add_argument("--detect-local-mode", default="ClusterCIDR", metavar="MODE",
                     help=f"how pod traffic is told: {', '.join(LOCAL_MODES)} (default ClusterCIDR)")
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
    add_boolean(own, "--bind-address-hard-fail", False, "end when health or metrics cannot be served; else it is tried again")
    own.add_argument("--oom-score-adj", type=int, default=-999, metavar="N", help="how unlikely the kernel ends this process for its "
                     "memory (default -999)")
    add_boolean(own, "--init-only", False, "do what needs all of root's rights, and exit: afterwards CAP_NET_ADMIN is enough")
    add_boolean(own, "--cleanup", False, "remove all rules and exit")
    for name in ("--config-sync-period", "--proxy-port-range"):
        own.add_argument(name, default="", metavar="X", help=argparse.SUPPRESS)  # upstream's; there is nothing they could set here
    return made


def check(args: argparse.Namespace) -> None:
    """Raises ValueError with everything that cannot be."""
    if problems := list(_problems(args)):
        raise ValueError("; ".join(problems))


def _problems(args: argparse.Namespace) -> Iterable[str]:
    if args.proxy_mode not in MODES:
        yield f"--proxy-mode {args.proxy_mode}: not supported; supported: {', '.join(MODES)}"
    if not 0 <= args.iptables_masquerade_bit <= 31:
        yield "--iptables-masquerade-bit: must be within the range [0, 31]"
    if not -1000 <= args.oom_score_adj <= 1000:
        yield "--oom-score-adj: must be within the range [-1000, 1000]"
    for mode in ("iptables", "ipvs"):
        shortest, period = getattr(args, f"{mode}_min_sync_period"), getattr(args, f"{mode}_sync_period")
        if period <= 0:
            yield f"--{mode}-sync-period: must be greater than 0"
        if not 0 <= shortest <= period:
            yield f"--{mode}-min-sync-period: must be within the range [0, --{mode}-sync-period]"
    for name in ("ipvs_tcp_timeout", "ipvs_tcpfin_timeout", "ipvs_udp_timeout", "conntrack_max_per_core", "conntrack_min",
                 "conntrack_tcp_timeout_established", "conntrack_tcp_timeout_close_wait", "conntrack_udp_timeout",
                 "conntrack_udp_timeout_stream"):
        if getattr(args, name) < 0:
            yield f"--{name.replace('_', '-')}: must be greater than or equal to 0"
    ranges = comma_list(args.cluster_cidr)
    if len({":" in text for text in ranges}) != len(ranges):
        yield "--cluster-cidr: only one CIDR allowed or a valid DualStack CIDR (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)"
    for flag, texts in (("cluster-cidr", ranges), ("ipvs-exclude-cidrs", args.ipvs_exclude_cidrs),
                        ("nodeport-addresses", [text for text in args.nodeport_addresses if text != "primary"])):
        yield from (f"--{flag} {text}: must be a valid CIDR block" for text in texts if not _is_network(text))
    if "primary" in args.nodeport_addresses and len(args.nodeport_addresses) > 1:
        yield "--nodeport-addresses: can't use both 'primary' and CIDRs"
    for flag in ("healthz", "metrics"):
        text = getattr(args, f"{flag}_bind_address")
        if text and not _is_endpoint(text):
            yield f"--{flag}-bind-address {text}: must be IP:port"
    if args.detect_local_mode not in LOCAL_MODES:
        yield f"--detect-local-mode {args.detect_local_mode}: not supported; supported: {', '.join(LOCAL_MODES)}"
    if args.detect_local_mode == "BridgeInterface" and not args.pod_bridge_interface:
        yield "--detect-local-mode BridgeInterface: needs --pod-bridge-interface"
    if args.detect_local_mode == "InterfaceNamePrefix" and not args.pod_interface_name_prefix:
        yield "--detect-local-mode InterfaceNamePrefix: needs --pod-interface-name-prefix"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _is_endpoint(text: str) -> bool:
    try:
        host, port = endpoint(text)
        if host:
            ipaddress.ip_address(host)
    except ValueError:
        return False
    return ":" in text and 0 < port < 65536


def endpoint(text: str) -> tuple[str, int]:
    """Host and port."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def settings_of(args: argparse.Namespace, pod_ranges: Sequence[str] = ()) -> dict[Family, Settings]:
    """What each family's backend is told. `pod_ranges` are the node's own, for NodeCIDR."""
    ranges = pod_ranges if args.detect_local_mode == "NodeCIDR" else comma_list(args.cluster_cidr)
    found: dict[Family, Settings] = {}
    for family in FAMILIES:
        cidr = next((text for text in ranges if (":" in text) == (family == "IPv6")), "")
        if args.detect_local_mode == "BridgeInterface":
            local = LocalTraffic(bridge=args.pod_bridge_interface)
        elif args.detect_local_mode == "InterfaceNamePrefix":
            local = LocalTraffic(prefix=args.pod_interface_name_prefix)
        else:
            local = LocalTraffic(cidr=cidr)
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
