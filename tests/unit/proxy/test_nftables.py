"""The nftables table of a small cluster against golden files, and what changes write."""
from __future__ import annotations

import itertools

import pytest

from kubepy.proxy.model import LocalTraffic, NodeInfo, build
from kubepy.proxy.nftables import name, transaction
from kubepy.proxy.nftables.kernel import Present
from kubepy.proxy.nftables.place import Places
from kubepy.proxy.nftables.rule import Options, Renderer
from tests.unit.proxy.golden_case import CASES, HERE, THERE, compare, pieces, service, state

OPTIONS = Options(LocalTraffic("10.244.0.0/16"))
NODE = NodeInfo("me", ip="192.168.0.1")


@pytest.mark.parametrize("case", CASES)
def test_table(case):
    compare(f"nftables/{case}.nft", transaction.full(Renderer(OPTIONS).render(state(case)), Present()))


@pytest.mark.parametrize("case", CASES)
def test_everything_referred_to_is_there(case):
    table = Renderer(OPTIONS).render(state(case))
    chains = {*table.chains, *(one for bundle in table.own.values() for one in bundle.chains)}
    collections = {**table.collections, **{one: kept for bundle in table.own.values() for one, kept in bundle.collections.items()}}
    rules = [rule for bundle in table.own.values() for lines in bundle.chains.values() for rule in lines]
    rules += [value for collection in collections.values() for value in collection.elements.values()]
    for rule in [*rules, *(rule for lines in table.chains.values() for rule in lines)]:
        words = rule.split()
        assert {after for word, after in itertools.pairwise(words) if word in ("goto", "jump")} <= chains
        assert {word[1:] for word in words if word.startswith("@")} <= {*collections, *table.maps}


@pytest.mark.parametrize(("local", "expected"), [
    pytest.param(LocalTraffic("10.0.0.0/8"), "ip saddr != 10.0.0.0/8 jump", id="by range"),
    pytest.param(LocalTraffic(bridge="cni0"), 'iifname != "cni0" jump', id="by bridge"),
    pytest.param(LocalTraffic(prefix="veth"), 'iifname != "veth*" jump', id="by interfaces"),
])
def test_what_is_no_pods_traffic_is_masqueraded(local, expected):
    assert expected in transaction.full(Renderer(Options(local)).render(state("cluster-ip")), Present())


def change(before, after):
    """What is written and then cleared away."""
    renderer = Renderer(OPTIONS)
    old, new = (renderer.render(build(services, slices, NODE, "IPv4")) for services, slices in (before, after))
    return transaction.partial(old, new).splitlines(), transaction.stale(old, new).splitlines()


WEB = service("web")
CHAIN = "service-"


def test_no_change_writes_nothing():
    assert change(([WEB], {"ns/web": pieces(HERE)}), ([WEB], {"ns/web": pieces(HERE)})) == ([], [])


def test_another_endpoint_changes_elements_alone():
    two = ("10.244.1.7", "other", "ready")
    written, cleared = change(([WEB], {"ns/web": pieces(THERE)}), ([WEB], {"ns/web": pieces(two)}))
    assert [line.split(" service-endpoints-")[0] for line in written] == ["delete element ip kube-proxy", "add element ip kube-proxy"]
    assert written[1].endswith("{ 0 : 10.244.1.7 . 8080 }")
    assert cleared == []


def test_a_service_that_goes_is_first_out_of_use_and_then_deleted():
    written, cleared = change(([WEB], {"ns/web": pieces(THERE)}), ([], {}))
    assert {line.split(" {")[0] for line in written} == {f"delete element ip kube-proxy {one}" for one in (
        name.CLUSTER_IPS, name.SERVICE_IPS, name.endpoints("tcp", 0))}
    assert [line.split(" ip ")[0] for line in cleared] == ["flush chain", "delete chain"]


def test_places_differ_and_move_only_with_growth():
    places = Places()
    taken = {chain: places.find(chain, "tcp", count) for chain, count in ((f"c{number}", number % 40 + 1) for number in range(200))}
    assert len(places.maps) == 4  # of 64 chains each
    keys = [(place.map, key) for place in taken.values() for key in range(place.start, place.start + place.size)]
    assert len(keys) == len(set(keys))
    assert places.find("c1", "tcp", 16) == taken["c1"]
    grown = places.find("c1", "tcp", 17)
    assert grown.map == taken["c1"].map
    assert not {(grown.map, key) for key in range(grown.start, grown.start + grown.size)} & set(keys)
    for chain in taken:
        places.free(chain)
    for number in range(256):
        places.find(f"d{number}", "tcp", 1)
    assert len(places.maps) == 4


def test_what_an_earlier_proxy_left_goes_and_remembered_clients_stay():
    table = Renderer(OPTIONS).render(state("udp-affinity"))
    remembered = [one for bundle in table.own.values() for one, kept in bundle.collections.items() if kept.dynamic]
    there = Present({"services", "service-OLD"}, {"service-ips": "map", "endpoints-OLD": "map", **dict.fromkeys(remembered, "set")})
    text = transaction.full(table, there)
    assert "flush chain ip kube-proxy services\n" in text
    assert "flush map ip kube-proxy service-ips\n" in text
    assert not [line for line in text.splitlines() if line.startswith("flush set") and any(one in line for one in remembered)]
    assert transaction.left_over(table, there).splitlines() == [
        "flush chain ip kube-proxy service-OLD", "delete map ip kube-proxy endpoints-OLD", "delete chain ip kube-proxy service-OLD"]


def test_names_fit_and_differ():
    long = [service("x" * 63, sessionAffinity="ClientIP"), service("x" * 62, ip="10.96.0.8", sessionAffinity="ClientIP")]
    slices = {f"ns/{'x' * count}": pieces(HERE, THERE) for count in (62, 63)}
    table = Renderer(OPTIONS).render(build(long, slices, NODE, "IPv4"))
    chains = [one for bundle in table.own.values() for one in bundle.chains]
    assert len(set(chains)) == len(chains)
    assert max(map(len, chains)) < 128
