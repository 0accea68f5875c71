"""Traffic policies, termination, topology, and which UDP flows are stale."""
from __future__ import annotations

import pytest

from kubepy.proxy.cache import StateCache
from kubepy.proxy.conntrack import Flow, Front, Target, stale
from kubepy.proxy.endpoint import serving
from kubepy.proxy.model import Endpoint, NodeInfo, ServicePort, node_port_addresses, service_ports, slice_endpoints


def ends(*names):
    """`a` ready here, `A` ready elsewhere; with `-` terminating but serving, with `!` neither."""
    return [Endpoint(ip=text[0], port=80, local=text[0].islower(), ready=len(text) == 1, serving=not text.endswith("!"),
                     terminating=len(text) > 1) for text in names]


def ips(endpoints):
    return [endpoint.ip for endpoint in endpoints]


@pytest.mark.parametrize(("service", "endpoints", "cluster", "local", "anywhere"), [
    pytest.param({}, ["a", "B"], ["a", "B"], [], True, id="all ready ones"),
    pytest.param({}, ["a", "B-"], ["a"], [], True, id="terminating ones rest while another is ready"),
    pytest.param({}, ["a-", "B-", "C!"], ["a", "B"], [], True, id="terminating ones serve when none is ready"),
    pytest.param({}, ["C!"], [], [], False, id="none"),
    pytest.param({"internal_local": True}, ["a", "B"], [], ["a"], True, id="internal Local"),
    pytest.param({"internal_local": True}, ["B"], [], [], True, id="internal Local, only elsewhere"),
    pytest.param({"external_local": True, "node_port": 1}, ["a-", "B"], ["B"], ["a"], True, id="external Local serves terminating here"),
    pytest.param({"external_local": True}, ["a", "B"], ["a", "B"], [], True, id="external Local without external addresses"),
])
def test_serving(service, endpoints, cluster, local, anywhere):
    found = serving(ends(*endpoints), ServicePort("10.96.0.1", 80, **service), NodeInfo("me"))
    assert (ips(found.cluster), ips(found.local), found.any) == (cluster, local, anywhere)


def hinted(ip, *zones, nodes=()):
    return Endpoint(ip, 80, zones=frozenset(zones), nodes=frozenset(nodes))


@pytest.mark.parametrize(("endpoints", "expected"), [
    pytest.param([hinted("a", "x"), hinted("b", "y")], ["a"], id="our zone"),
    pytest.param([hinted("a", "x"), hinted("b")], ["a", "b"], id="one has no hint"),
    pytest.param([hinted("a", "y"), hinted("b", "z")], ["a", "b"], id="none is for us"),
    pytest.param([hinted("a", "x", nodes=["me"]), hinted("b", "x", nodes=["you"])], ["a"], id="our node"),
    pytest.param([hinted("a", "y", nodes=["you"]), hinted("b", "x", nodes=["you"])], ["b"], id="no endpoint for the node, then the zone"),
])
def test_topology(endpoints, expected):
    assert ips(serving(endpoints, ServicePort("10.96.0.1", 80), NodeInfo("me", "x")).cluster) == expected


def udp(name, ip, node_port, *endpoints):
    service = {"metadata": {"namespace": "ns", "name": name}, "spec": {"clusterIP": ip, "type": "NodePort", "ports": [
        {"port": 53, "protocol": "UDP", "nodePort": node_port}]}}
    piece = {"addressType": "IPv4", "ports": [{"name": "", "port": 5353, "protocol": "UDP"}],
             "endpoints": [{"addresses": [address]} for address in endpoints]}
    return service, [piece]


def flow(front, target, port=53):
    return Flow(Front(front, port), Target(target, 5353 if target.startswith("10.1.") else port), b"")


A_TO_1, A_TO_2, A_UNTRANSLATED = flow("10.96.0.1", "10.1.0.1"), flow("10.96.0.1", "10.1.0.2"), flow("10.96.0.1", "10.96.0.1")
PORT_TO_1, PORT_UNTRANSLATED = flow("192.0.2.1", "10.1.0.1", 30001), flow("192.0.2.1", "192.0.2.1", 30001)
B_TO_1, B_ON_AS_NODE_PORT = flow("10.96.0.2", "10.1.0.1"), Flow(Front("10.96.0.3", 30001), Target("10.1.0.9", 1), b"")
FLOWS = [A_TO_1, A_TO_2, A_UNTRANSLATED, PORT_TO_1, PORT_UNTRANSLATED, B_TO_1, flow("192.0.2.9", "192.0.2.9")]


@pytest.mark.parametrize(("before", "after", "expected"), [
    pytest.param(["10.1.0.1", "10.1.0.2"], ["10.1.0.1"], [A_TO_2, A_UNTRANSLATED, PORT_UNTRANSLATED], id="an endpoint left"),
    pytest.param([], ["10.1.0.1"], [A_TO_2, A_UNTRANSLATED, PORT_UNTRANSLATED], id="the first endpoint came"),
    pytest.param(["10.1.0.1"], [], [A_TO_1, A_TO_2, A_UNTRANSLATED, PORT_TO_1, PORT_UNTRANSLATED], id="the last endpoint left"),
    pytest.param(["10.1.0.1"], None, [A_TO_1, A_TO_2, A_UNTRANSLATED, PORT_TO_1, PORT_UNTRANSLATED], id="the service left"),
    pytest.param(["10.1.0.1"], ["10.1.0.1"], [], id="nothing changed"),
])
def test_stale_udp_flows(before, after, expected):
    objects = {"ns/a": udp("a", "10.96.0.1", 30001, *before), "ns/b": udp("b", "10.96.0.2", 30002, "10.1.0.1")}
    cache = StateCache("IPv4", lambda key: objects[key][0] if key in objects else None, lambda key: objects[key][1])
    cache.refresh(["ns/a", "ns/b"])
    objects["ns/a"] = udp("a", "10.96.0.1", 30001, *(after or ()))
    if after is None:
        del objects["ns/a"]
    assert stale(cache.refresh(["ns/a"]), FLOWS) == expected


def test_a_restart_forgets_the_flows_to_endpoints_that_went_meanwhile():
    objects = {"ns/a": udp("a", "10.96.0.1", 30001, "10.1.0.1")}
    cache = StateCache("IPv4", lambda key: objects[key][0], lambda key: objects[key][1])
    assert stale(cache.refresh(["ns/a"]), FLOWS) == [A_TO_2, A_UNTRANSLATED, PORT_UNTRANSLATED]


def test_a_cluster_ip_is_not_taken_for_a_node_port():
    tcp = {"metadata": {"namespace": "ns", "name": "c"}, "spec": {"clusterIP": "10.96.0.3", "ports": [{"port": 30001, "protocol": "UDP"}]}}
    piece = {"addressType": "IPv4", "ports": [{"name": "", "port": 1, "protocol": "UDP"}], "endpoints": [{"addresses": ["10.1.0.9"]}]}
    objects = {"ns/a": udp("a", "10.96.0.1", 30001, "10.1.0.1"), "ns/c": (tcp, [piece])}
    cache = StateCache("IPv4", lambda key: objects[key][0], lambda key: objects[key][1])
    assert stale(cache.refresh(["ns/a", "ns/c"]), [B_ON_AS_NODE_PORT]) == []


@pytest.mark.parametrize("change", [{"clusterIP": "None", "clusterIPs": ["None"]}, {"type": "ExternalName"}],
                         ids=["headless", "ExternalName"])
def test_services_without_a_cluster_ip_are_left_alone(change):
    service = {"metadata": {"namespace": "a", "name": "b"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}], **change}}
    assert service_ports(service, "IPv4") == {}


def test_addresses_of_balancers_that_are_proxies_are_not_taken():
    service = {"metadata": {"namespace": "a", "name": "b"},
               "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
               "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "Proxy"}, {"ip": "192.0.2.2", "ipMode": "VIP"},
                                                       {"ip": "192.0.2.3"}, {"hostname": "balancer"}, {"ip": "2001:db8::1"}]}}}
    [port] = service_ports(service, "IPv4").values()
    assert port.load_balancer_ips == ("192.0.2.2", "192.0.2.3")


def test_an_endpoint_in_two_slices_counts_once_and_the_ready_one_wins():
    def piece(ready):
        return {"addressType": "IPv4", "ports": [{"name": "", "port": 80}],
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]}

    [group] = slice_endpoints([piece(False), piece(True), piece(False)], "IPv4", "me").values()
    assert [endpoint.ready for endpoint in group.values()] == [True]


@pytest.mark.parametrize(("ranges", "expected"), [
    pytest.param([], (), id="not limited"),
    pytest.param(["192.168.0.0/16"], ("192.168.0.5",), id="by range"),
    pytest.param(["0.0.0.0/0"], (), id="everything"),
])
def test_node_port_addresses(ranges, expected):
    assert node_port_addresses(ranges, ["127.0.0.1", "192.168.0.5", "fd00::1"], "IPv4") == expected
