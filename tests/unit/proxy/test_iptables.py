"""The rules of a small cluster against golden files (rewritten with KUBEPY_UPDATE_GOLDEN=1), and what partial writes contain."""
from __future__ import annotations

import pytest

from kubepy.proxy.iptables import chain, table
from kubepy.proxy.iptables.rule import MANY, Options, Renderer
from kubepy.proxy.model import Endpoint, NodeInfo, PortName, build
from tests.unit.proxy.golden_case import CASES, HERE, THERE, compare, pieces, service, state

OPTIONS = Options(local_match="-s 10.244.0.0/16", remote_match="! -s 10.244.0.0/16")


def shown(rules):
    return "".join(table.full(rules, {}))


@pytest.mark.parametrize("name", CASES)
def test_rules(name):
    compare(f"iptables/{name}.rules", shown(Renderer(OPTIONS).render(state(name))))


@pytest.mark.parametrize("name", CASES)
def test_every_jump_has_a_chain(name):
    rules = Renderer(OPTIONS).render(state(name))
    for chains in (rules.filter, rules.whole_nat()):
        for source, lines in chains.items():
            for line in lines:
                target = line.rpartition("-j ")[2].split(" ")[0]
                if target.startswith("KUBE-"):
                    assert target in chains, f"{source}: {line}"


def test_names_are_upstreams():
    name = PortName("ns1", "svc1", "p80")
    assert chain.cluster(name) == "KUBE-SVC-XPGD46QRK7WJZT7O"
    assert chain.endpoint(name, Endpoint("10.180.0.1", 80)) == "KUBE-SEP-SXIVWICOYRO3J4NJ"


def test_a_partial_write_has_only_what_changed():
    services = [service("web"), service("db", ip="10.96.0.8")]
    renderer = Renderer(OPTIONS)
    node = NodeInfo("me")
    slices = {"ns/web": pieces(HERE), "ns/db": pieces(THERE)}
    first = renderer.render(build(services, slices, node, "IPv4"))
    assert not list(table.partial(first, renderer.render(build(services, slices, node, "IPv4"))))
    second = renderer.render(build(services, {**slices, "ns/web": pieces(("10.244.0.7", "me", "ready"))}, node, "IPv4"))
    [text] = table.partial(first, second)
    web = PortName("ns", "web", "p80")
    gone, came = (chain.endpoint(web, Endpoint(ip, 8080)) for ip in ("10.244.0.5", "10.244.0.7"))
    assert text.splitlines()[:4] == ["*nat", f":{chain.cluster(web)} - [0:0]", f":{came} - [0:0]", f":{gone} - [0:0]"]
    assert f"-X {gone}" in text
    assert "KUBE-SERVICES" not in text
    assert "ns/db" not in text


def test_a_full_write_deletes_what_an_earlier_proxy_left_and_adds_only_missing_jumps():
    saved = table.parse_save("\n".join([
        "*nat", ":PREROUTING ACCEPT [0:0]", ":KUBE-SVC-OLD - [0:0]", ":MINE - [0:0]",
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "-A MINE -j ACCEPT", "COMMIT"]))
    [text] = table.full(Renderer(OPTIONS).render(build([], {}, NodeInfo("me"), "IPv4")), saved)
    nat = text.partition("*nat")[2].partition("COMMIT")[0]
    assert "-X KUBE-SVC-OLD" in nat
    assert "MINE" not in text
    assert "-I PREROUTING" not in nat
    assert "-I OUTPUT 1" in nat


def test_cleanup_takes_out_jumps_first():
    saved = table.parse_save("\n".join([
        "*nat", ":PREROUTING ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]", ":KUBE-SVC-A - [0:0]", ":MINE - [0:0]",
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "-A KUBE-SERVICES -j KUBE-SVC-A", "COMMIT"]))
    assert table.cleanup(saved).splitlines() == [
        "*nat", '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES', ":KUBE-SERVICES - [0:0]",
        ":KUBE-SVC-A - [0:0]", "-X KUBE-SERVICES", "-X KUBE-SVC-A", "COMMIT"]


def perform(kernel, texts):
    """What the tables have after some transactions; a rule that leads nowhere, or a chain deleted while a rule leads to it, is an error."""
    for text in texts:
        for part in text.split("COMMIT\n")[:-1]:
            lines = part.splitlines()
            chains = kernel.setdefault(lines[0][1:], {"INPUT": [], "FORWARD": [], "OUTPUT": [], "PREROUTING": [], "POSTROUTING": []})
            for line in lines[1:]:
                words = line.split(" ")
                if line.startswith(":"):
                    chains[words[0][1:]] = []
                elif words[0] == "-A":
                    chains[words[1]].append(" ".join(words[2:]))
                elif words[0] == "-I":
                    chains[words[1]].insert(0, " ".join(words[3:]))
                elif words[0] == "-D":
                    chains[words[1]].remove(" ".join(words[2:]))
                else:
                    assert words[0] == "-X"
                    assert chains.pop(words[1]) == []
            for rules in chains.values():
                for rule in rules:
                    target = rule.rpartition("-j ")[2].split(" ")[0]
                    assert not target.startswith("KUBE-") or target in chains, rule
    return kernel


def many(count, gone=()):
    services = [service(f"s{index}", ip=f"10.96.0.{index}", ports=((80, 30000 + index),), kind="NodePort", externalTrafficPolicy="Local")
                for index in range(count) if index not in gone]
    return build(services, {f"ns/s{index}": pieces(HERE, THERE) for index in range(count)}, NodeInfo("me"), "IPv4")


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_long_writes_are_several_transactions_each_of_them_whole(at_once):
    renderer = Renderer(OPTIONS)
    first, second = renderer.render(many(30)), renderer.render(many(30, gone=range(3, 28)))
    texts = list(table.full(first, {}, at_once=at_once))
    assert (len(texts) > 1) == (at_once < 1000)
    kernel = perform({}, texts)
    assert kernel == perform({}, table.full(first, {}))
    perform(kernel, table.partial(first, second, at_once))
    assert kernel == perform({}, table.full(second, {}))
    perform(kernel, table.partial(second, first, at_once))
    whole = perform({}, table.full(first, {}))
    assert {name: {one: sorted(rules) for one, rules in chains.items()} for name, chains in kernel.items()} == {
        name: {one: sorted(rules) for one, rules in chains.items()} for name, chains in whole.items()}


def test_a_proxy_that_starts_again_writes_only_what_differs():
    rules = Renderer(OPTIONS).render(many(30))
    kernel = perform({}, table.full(rules, {}))
    one, two, *_ = (name for name in kernel["nat"] if name.startswith("KUBE-SEP"))
    kernel["nat"][one] = []
    del kernel["nat"][two]
    texts = list(table.full(rules, {name: table.Saved(chains) for name, chains in kernel.items()}))
    assert {line for text in texts for line in text.splitlines() if line.startswith((":KUBE-SVC", ":KUBE-SEP"))} == {
        f":{one} - [0:0]", f":{two} - [0:0]"}
    assert "-I " not in "".join(texts)


def test_endpoint_rules_have_no_comments_where_there_are_many():
    crowd = [(f"10.244.{index >> 8}.{index & 255}", "other", "ready") for index in range(MANY + 1)]
    text = shown(Renderer(OPTIONS).render(build([service("web")], {"ns/web": pieces(*crowd)}, NodeInfo("me"), "IPv4")))
    assert "ns/web:p80 ->" not in text
    assert '--comment "ns/web:p80 cluster IP"' in text
