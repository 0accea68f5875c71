"""Real connections through the iptables backend, in network namespaces of our own."""
from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from kubepy.proxy import conntrack
from kubepy.proxy.iptables.backend import IptablesBackend
from kubepy.proxy.iptables.rule import Options
from kubepy.proxy.model import NodeInfo, build

pytestmark = pytest.mark.root
spec = importlib.util.spec_from_file_location("proxy_net", Path(__file__).with_name("net.py"))
networks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(networks)

OPTIONS = Options(local_match="-s 10.244.0.0/16", remote_match="! -s 10.244.0.0/16")
NODE = NodeInfo("me", ip="192.168.77.1")
CLUSTER_IP, CLIENT = "10.96.0.7", "192.168.77.2"


@pytest.fixture(scope="module")
def net():
    found = networks.Net()
    for index in range(3):
        found.listen(index)
        found.listen(index, 5353, socket.SOCK_DGRAM)
    yield found
    found.close()


@pytest.fixture
async def backend(net):
    found = IptablesBackend(OPTIONS, prefix=("ip", "netns", "exec", net.node))
    yield found
    await found.cleanup()


def service(name="web", ip=CLUSTER_IP, port=80, target=8080, protocol="TCP", node_port=0, kind="ClusterIP", ingress=(), **spec):
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {
        "type": kind, "clusterIP": ip, "clusterIPs": [ip], **spec,
        "ports": [{"name": "p", "port": port, "protocol": protocol, **({"nodePort": node_port} if node_port else {})}]},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in ingress]}}}


def state(*services, pods=(0, 1), target=8080, protocol="TCP", elsewhere=()):
    piece = {"addressType": "IPv4", "ports": [{"name": "p", "port": target, "protocol": protocol}], "endpoints": [
        {"addresses": [f"10.244.0.{index + 2}"], "nodeName": "other" if index in elsewhere else "me", "conditions": {"ready": True}}
        for index in pods]}
    return build(services, {f"ns/{one['metadata']['name']}": [piece] for one in services}, NODE, "IPv4")


async def test_cluster_ip_is_balanced_and_keeps_pods_addresses(net, backend):
    await backend.apply(state(service()))
    counts = net.spread(net.pods[2], CLUSTER_IP, 80)
    assert set(counts) == {"pod-0", "pod-1"}
    assert min(counts.values()) > 10
    assert net.call(net.pods[2], CLUSTER_IP, 80)[1] == "10.244.0.4"
    assert net.call(net.client, CLUSTER_IP, 80)[1] == "10.244.0.1"  # from outside: masqueraded
    assert net.call(net.node, CLUSTER_IP, 80)[0] in ("pod-0", "pod-1")


async def test_hairpin(net, backend):
    await backend.apply(state(service(), pods=(0,)))
    assert net.call(net.pods[0], CLUSTER_IP, 80) == ("pod-0", "10.244.0.1")


async def test_no_endpoints_is_refused_at_once(net, backend):
    await backend.apply(state(service(node_port=30080, kind="NodePort"), pods=()))
    assert net.call(net.pods[2], CLUSTER_IP, 80) == "refused"
    assert net.call(net.node, CLUSTER_IP, 80) == "refused"
    assert net.call(net.client, "192.168.77.1", 30080) == "refused"


async def test_node_port(net, backend):
    await backend.apply(state(service(node_port=30080, kind="NodePort")))
    assert net.call(net.client, "192.168.77.1", 30080)[1] == "10.244.0.1"
    assert net.call(net.node, "127.0.0.1", 30080)[0] in ("pod-0", "pod-1")
    assert net.call(net.pods[2], "192.168.77.1", 30080)[0] in ("pod-0", "pod-1")


async def test_external_policy_local_keeps_the_clients_address_and_stays_here(net, backend):
    await backend.apply(state(service(node_port=30080, kind="NodePort", externalTrafficPolicy="Local"), elsewhere=(1,)))
    assert {net.call(net.client, "192.168.77.1", 30080) for _ in range(15)} == {("pod-0", CLIENT)}
    await backend.apply(state(service(node_port=30080, kind="NodePort", externalTrafficPolicy="Local"), elsewhere=(0, 1)))
    assert net.call(net.client, "192.168.77.1", 30080, timeout=0.5) == "timeout"
    assert net.call(net.node, "192.168.77.1", 30080)[0] in ("pod-0", "pod-1")


async def test_internal_policy_local(net, backend):
    await backend.apply(state(service(internalTrafficPolicy="Local"), elsewhere=(1,)))
    assert set(net.spread(net.pods[2], CLUSTER_IP, 80, 15)) == {"pod-0"}
    await backend.apply(state(service(internalTrafficPolicy="Local"), elsewhere=(0, 1)))
    assert net.call(net.pods[2], CLUSTER_IP, 80, timeout=0.5) == "timeout"


async def test_session_affinity(net, backend):
    await backend.apply(state(service(sessionAffinity="ClientIP"), pods=(0, 1, 2)))
    assert len(net.spread(net.client, CLUSTER_IP, 80, 15)) == 1


async def test_external_ip_and_source_ranges(net, backend):
    one = service(kind="LoadBalancer", ingress=["198.51.100.1"], externalIPs=["198.51.100.2"], loadBalancerSourceRanges=["203.0.113.0/24"])
    await backend.apply(state(one))
    assert net.call(net.client, "198.51.100.2", 80)[0] in ("pod-0", "pod-1")
    assert net.call(net.client, "198.51.100.1", 80, timeout=0.5) == "timeout"
    one["spec"]["loadBalancerSourceRanges"] = [f"{CLIENT}/32"]
    await backend.apply(state(one))
    assert net.call(net.client, "198.51.100.1", 80)[0] in ("pod-0", "pod-1")


async def test_an_endpoint_that_goes_takes_no_more_connections(net, backend):
    await backend.apply(state(service()))
    await backend.apply(state(service(), pods=(1,)))
    assert set(net.spread(net.client, CLUSTER_IP, 80, 20)) == {"pod-1"}
    await backend.apply(build([], {}, NODE, "IPv4"))
    saved = net.inside(net.node, "iptables-save")
    assert "KUBE-SVC-" not in saved
    assert "KUBE-SEP-" not in saved


async def test_udp_follows_an_endpoints_death(net, backend, monkeypatch):
    one = service("dns", protocol="UDP", port=53, target=5353)
    await backend.apply(state(one, pods=(0,), target=5353, protocol="UDP"))

    def bound():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", 4444))
        made.settimeout(1)
        return made

    client = net.do(net.client, bound)
    client.sendto(b"x", (CLUSTER_IP, 53))
    assert client.recv(100).startswith(b"pod-0")
    before = state(one, pods=(0,), target=5353, protocol="UDP")
    after = state(one, pods=(1,), target=5353, protocol="UDP")
    await backend.apply(after)
    [name] = after.services
    flows = conntrack.stale(after.services[name], before.endpoints[name], after.endpoints[name])
    for flow in flows:
        net.inside(net.node, "conntrack", *flow.arguments())
    client.sendto(b"x", (CLUSTER_IP, 53))
    assert client.recv(100).startswith(b"pod-1")
    client.close()


@pytest.mark.parametrize("how", [["iptables", "-t", "nat", "-F"], ["iptables-restore", "/dev/null"]], ids=["flushed", "nothing done"])
async def test_rules_flushed_by_others_are_noticed(net, backend, how):
    await backend.apply(state(service()))
    assert await backend.intact()
    net.inside(net.node, *how)
    flushed = "-F" in how
    assert await backend.intact() != flushed
    await backend.apply(state(service()))
    assert net.call(net.client, CLUSTER_IP, 80)[0] in ("pod-0", "pod-1")


async def test_a_new_proxy_takes_over_without_a_gap_and_cleanup_leaves_nothing(net, backend):
    await backend.apply(state(service()))
    again = IptablesBackend(OPTIONS, prefix=("ip", "netns", "exec", net.node))
    await again.apply(state(service(ip="10.96.0.9")))
    saved = net.inside(net.node, "iptables-save")
    assert saved.count("-A PREROUTING") == 1
    assert net.call(net.client, "10.96.0.9", 80)[0] in ("pod-0", "pod-1")
    assert net.call(net.client, CLUSTER_IP, 80, timeout=0.5) == "timeout"
    net.inside(net.node, "iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.1.1.1", "-j", "ACCEPT")
    await again.cleanup()
    left = net.inside(net.node, "iptables-save")
    assert "KUBE" not in left
    assert "10.1.1.1" in left


async def test_a_long_chain_is_edited_and_says_the_same_as_one_written_anew(net, backend):
    def many(*skip):
        return [service(f"s{index}", ip=f"10.96.1.{index}") for index in range(1, 80) if index not in skip]

    def rules():
        lines = net.inside(net.node, "iptables-save", "-t", "nat").splitlines()
        return [line for line in lines if line.startswith("-A")]

    await backend.apply(state(*many(5)))
    await backend.apply(state(*many(7, 9), service("moved", ip="10.96.2.1")))
    edited = rules()
    backend.forget()
    await backend.apply(state(*many(7, 9), service("moved", ip="10.96.2.1")))
    assert sorted(edited) == sorted(rules())
    assert "KUBE-NODEPORTS" in [line for line in edited if line.startswith("-A KUBE-SERVICES")][-1]
    assert net.call(net.pods[2], "10.96.2.1", 80)[0] in ("pod-0", "pod-1")
    assert net.call(net.pods[2], "10.96.1.5", 80)[0] in ("pod-0", "pod-1")
