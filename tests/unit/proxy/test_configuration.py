"""Flags and KubeProxyConfiguration."""
from __future__ import annotations

import pytest

from kubepy.proxy import configuration, flag, tuning
from kubepy.proxy.model import LocalTraffic


def settings(*flags, family="IPv4", **file):
    args = flag.parser().parse_args(list(flags))
    if file:
        configuration.apply(args, {"kind": "KubeProxyConfiguration", "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", **file})
    return flag.settings_of(args)[family], args


@pytest.mark.parametrize(("flags", "family", "expected"), [
    pytest.param(["--cluster-cidr=10.0.0.0/8,fd00::/48"], "IPv4", LocalTraffic("10.0.0.0/8"), id="range"),
    pytest.param(["--cluster-cidr=10.0.0.0/8,fd00::/48"], "IPv6", LocalTraffic("fd00::/48"), id="range of the other family"),
    pytest.param(["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0"], "IPv4", LocalTraffic(bridge="cni0"), id="bridge"),
    pytest.param(["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth"], "IPv6", LocalTraffic(prefix="veth"),
                 id="interfaces"),
])
def test_how_pods_traffic_is_told(flags, family, expected):
    assert settings(*flags, family=family)[0].local == expected


def test_the_nodes_own_range_tells_its_pods():
    args = flag.parser().parse_args(["--detect-local-mode=NodeCIDR", "--cluster-cidr=10.0.0.0/8"])
    flag.check(args)
    found = flag.settings_of(args, ("10.1.2.0/24", "fd00:1::/64"))
    assert [found[family].local.cidr for family in ("IPv4", "IPv6")] == ["10.1.2.0/24", "fd00:1::/64"]


@pytest.mark.parametrize("flags", [
    "--detect-local-mode=BridgeInterface", "--detect-local-mode=InterfaceNamePrefix", "--detect-local-mode=Odd", "--proxy-mode=userspace",
    "--iptables-masquerade-bit=32", "--oom-score-adj=-1001", "--cluster-cidr=10.0.0.0/8,10.1.0.0/16", "--cluster-cidr=10.0.0.0",
    "--iptables-min-sync-period=1m", "--ipvs-sync-period=0s", "--conntrack-min=-1", "--nodeport-addresses=eth0",
    "--nodeport-addresses=primary,10.0.0.0/8", "--healthz-bind-address=10256", "--metrics-bind-address=host:10249"])
def test_what_cannot_be_is_refused(flags):
    with pytest.raises(ValueError, match=f"^{flags.partition('=')[0]}"):
        flag.check(flag.parser().parse_args([flags]))


WHOLE = {
    "bindAddress": "192.0.2.1", "bindAddressHardFail": True, "clientConnection": {
        "acceptContentTypes": "", "burst": 0, "contentType": "", "kubeconfig": "/etc/proxy.conf", "qps": 0},
    "clusterCIDR": "10.0.0.0/8", "configSyncPeriod": "0s", "conntrack": {
        "maxPerCore": None, "min": 7, "tcpBeLiberal": True, "tcpCloseWaitTimeout": None, "tcpEstablishedTimeout": "1h", "udpTimeout": "0s",
        "udpStreamTimeout": "9s"},
    "detectLocal": {"bridgeInterface": "cni0", "interfaceNamePrefix": "veth"}, "detectLocalMode": "BridgeInterface",
    "enableProfiling": False, "featureGates": {"AtomicFIFO": True}, "healthzBindAddress": "127.0.0.1:1", "hostnameOverride": "other",
    "iptables": {"localhostNodePorts": False, "masqueradeAll": True, "masqueradeBit": 3, "minSyncPeriod": "2s", "syncPeriod": "0s"},
    "ipvs": {"excludeCIDRs": None, "minSyncPeriod": "0s", "scheduler": "", "strictARP": False, "syncPeriod": "0s", "tcpFinTimeout": "0s",
             "tcpTimeout": "0s", "udpTimeout": "0s"},
    "logging": {"flushFrequency": 0, "format": "json", "options": {"json": {"infoBufferSize": "0"}}, "verbosity": 3},
    "metricsBindAddress": "127.0.0.1:2", "mode": "", "nftables": {
        "masqueradeAll": False, "masqueradeBit": 9, "minSyncPeriod": "0s", "syncPeriod": "7s"},
    "nodePortAddresses": ["192.0.2.0/24"], "oomScoreAdj": -5, "portRange": "", "showHiddenMetricsForVersion": "",
    "windowsRunAsService": False, "winkernel": {"enableDSR": False, "networkName": ""}}


def test_every_field_of_the_file_counts_as_its_flag_would():
    _, found = settings("--hostname-override=me", **WHOLE)
    flags = flag.parser().parse_args([
        "--hostname-override=me", "--bind-address=192.0.2.1", "--bind-address-hard-fail", "--kubeconfig=/etc/proxy.conf",
        "--cluster-cidr=10.0.0.0/8", "--conntrack-min=7", "--conntrack-tcp-be-liberal", "--conntrack-tcp-timeout-established=1h",
        "--conntrack-udp-timeout-stream=9s", "--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0",
        "--pod-interface-name-prefix=veth", "--healthz-bind-address=127.0.0.1:1", "--metrics-bind-address=127.0.0.1:2",
        "--iptables-localhost-nodeports=false", "--masquerade-all", "--iptables-masquerade-bit=3", "--iptables-min-sync-period=2s",
        "--logging-format=json", "-v=3", "--nodeport-addresses=192.0.2.0/24", "--oom-score-adj=-5"])
    assert {**vars(found), "feature_gates": {}} == {**vars(flags), "feature_gates": found.feature_gates.changed()}
    again = flag.parser().parse_args([])
    configuration.apply(again, configuration.show(found))
    assert configuration.show(again) == configuration.show(found)


@pytest.mark.parametrize(("file", "problem"), [
    pytest.param({"clusterCidr": "10.0.0.0/8"}, 'unknown field "clusterCidr"', id="an unknown field"),
    pytest.param({"ipvs": {"strictArp": True}}, 'unknown field "ipvs.strictArp"', id="an unknown field of a section"),
    pytest.param({"iptables": {"masqueradeBit": "14"}}, "iptables.masqueradeBit: '14' is not an integer", id="another type"),
    pytest.param({"iptables": {"masqueradeBit": True}}, "iptables.masqueradeBit: True is not an integer", id="a boolean for a number"),
    pytest.param({"nodePortAddresses": "primary"}, "nodePortAddresses: 'primary' is not a list", id="text for a list"),
    pytest.param({"conntrack": {"udpTimeout": "soon"}}, "conntrack.udpTimeout: time: invalid duration 'soon'", id="no duration"),
    pytest.param({"featureGates": {"Odd": True}}, "featureGates: unrecognized feature gate: Odd", id="no gate"),
    pytest.param({"conntrack": 5}, "conntrack: not an object", id="no section"),
])
def test_a_file_with_mistakes_is_refused(file, problem):
    with pytest.raises(ValueError, match=r"^--config: ") as caught:
        settings(**file)
    assert problem in str(caught.value)


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
    pytest.param({"maxPerCore": 1 << 20}, {tuning.MAX: 65536}, {tuning.MAX: 1 << 20}, id="not without end, however many CPUs"),
    pytest.param({}, {tuning.MAX: 1 << 20}, {}, id="a larger table stays; what the kernel does not have is left"),
    pytest.param({"maxPerCore": 1 << 17, "tcpCloseWaitTimeout": "0s", "tcpBeLiberal": True, "udpTimeout": "10s"},
                 {tuning.MAX: 65536, "nf_conntrack_tcp_timeout_close_wait": 60, "nf_conntrack_tcp_be_liberal": 0,
                  "nf_conntrack_udp_timeout": 30},
                 {tuning.MAX: 1 << 18, "nf_conntrack_tcp_be_liberal": 1, "nf_conntrack_udp_timeout": 10}, id="what a file says"),
    pytest.param({"maxPerCore": 0}, {tuning.MAX: 65536}, {}, id="no limit of its own"),
])
def test_connection_tracking(wanted, current, expected):
    found, args = settings(conntrack=wanted)
    assert tuning.plan(flag.tuning_of(args), 2, current.get) == expected
    assert found.drop_invalid is not wanted.get("tcpBeLiberal", False)
