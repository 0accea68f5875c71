"""Flags and KubeProxyConfiguration."""
from __future__ import annotations

import pytest

from kubepy.proxy import config, tuning
from kubepy.proxy.model import LocalTraffic


def settings(*flags, family="IPv4", **file):
    args = config.parser().parse_args(list(flags))
    if file:
        config.apply_config(args, {"kind": "KubeProxyConfiguration", "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", **file})
    return config.settings_of(args)[family], args


@pytest.mark.parametrize(("flags", "family", "expected"), [
    pytest.param(["--cluster-cidr=10.0.0.0/8,fd00::/48"], "IPv4", LocalTraffic("10.0.0.0/8"), id="range"),
    pytest.param(["--cluster-cidr=10.0.0.0/8,fd00::/48"], "IPv6", LocalTraffic("fd00::/48"), id="range of the other family"),
    pytest.param(["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0"], "IPv4", LocalTraffic(bridge="cni0"), id="bridge"),
    pytest.param(["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth"], "IPv6", LocalTraffic(prefix="veth"),
                 id="interfaces"),
])
def test_how_pods_traffic_is_told(flags, family, expected):
    assert settings(*flags, family=family)[0].local == expected


@pytest.mark.parametrize("flags", [["--detect-local-mode=BridgeInterface"], ["--iptables-masquerade-bit=32"]],
                         ids=["no bridge named", "no such bit"])
def test_what_cannot_be_is_refused(flags):
    with pytest.raises(ValueError, match=r"^--"):
        settings(*flags)


def test_the_ipvs_section_counts_in_ipvs_mode():
    found, args = settings(mode="ipvs", ipvs={"scheduler": "wrr", "excludeCIDRs": ["192.0.2.0/24"], "strictARP": True, "tcpTimeout": "5m",
                                              "minSyncPeriod": "2s", "syncPeriod": "1m"}, iptables={"syncPeriod": "7s"})
    assert (found.scheduler, found.exclude, found.strict_arp, found.tcp_timeout) == ("wrr", ("192.0.2.0/24",), True, 300)
    assert (args.ipvs_min_sync_period, args.ipvs_sync_period, args.proxy_mode) == (2.0, 60.0, "ipvs")


def test_the_nftables_section_counts_in_nftables_mode():
    found, args = settings(mode="nftables", nftables={"masqueradeAll": True, "masqueradeBit": 3, "syncPeriod": "9s"})
    assert (found.masquerade_all, found.mark, args.iptables_sync_period) == (True, 8, 9.0)


@pytest.mark.parametrize(("ranges", "expected"), [
    pytest.param("", False, id="not given: the node's own address"), pytest.param("primary", False, id="the same by name"),
    pytest.param("0.0.0.0/0,::/0", True, id="all of both families"), pytest.param("192.168.0.0/16", False, id="some"),
])
def test_which_addresses_node_ports_of_nftables_answer_on(ranges, expected):
    assert settings(f"--nodeport-addresses={ranges}")[0].every_address is expected


@pytest.mark.parametrize(("wanted", "current", "expected"), [
    pytest.param({}, {tuning.MAX: 65536, "nf_conntrack_tcp_timeout_close_wait": 60, "nf_conntrack_tcp_timeout_established": 86400},
                 {tuning.MAX: 131072, "nf_conntrack_tcp_timeout_close_wait": 3600}, id="what differs, as kube-proxy has it"),
    pytest.param({}, {tuning.MAX: 1 << 20}, {}, id="a larger table stays; what the kernel does not have is left"),
    pytest.param({"maxPerCore": 1 << 17, "tcpCloseWaitTimeout": "0s", "tcpBeLiberal": True, "udpTimeout": "10s"},
                 {tuning.MAX: 65536, "nf_conntrack_tcp_timeout_close_wait": 60, "nf_conntrack_tcp_be_liberal": 0,
                  "nf_conntrack_udp_timeout": 30},
                 {tuning.MAX: 1 << 18, "nf_conntrack_tcp_be_liberal": 1, "nf_conntrack_udp_timeout": 10}, id="what a file says"),
    pytest.param({"maxPerCore": 0}, {tuning.MAX: 65536}, {}, id="no limit of its own"),
])
def test_connection_tracking(wanted, current, expected):
    found, args = settings(conntrack=wanted)
    assert tuning.plan(config.tuning_of(args), 2, current.get) == expected
    assert found.drop_invalid is not wanted.get("tcpBeLiberal", False)
