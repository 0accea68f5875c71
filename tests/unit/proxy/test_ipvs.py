"""The plans of a small cluster for IPVS, ipset and iptables against golden files, and what changes write."""
from __future__ import annotations

import itertools

import pytest

from kubepy.proxy.iptables import chain, table
from kubepy.proxy.ipvs import ipset, rule
from kubepy.proxy.ipvs.plan import Planner
from tests.unit.proxy.golden_case import CASES, compare, state

ADDRESSES = ("192.168.0.1",)


def plan(name):
    return Planner().plan(state(name), ADDRESSES)


@pytest.mark.parametrize("name", CASES)
def test_plan(name):
    found = plan(name)
    lines = [f"address {ip}" for ip in sorted(found.addresses)]
    for at, virtual in sorted(found.virtuals.items()):
        lines.append(f"{at.protocol} {at.ip}:{at.port} {virtual.scheduler}{f' persistent {virtual.timeout}' if virtual.timeout else ''}")
        lines += [f"  -> {real.ip}:{real.port}" for real in sorted(virtual.reals)]
    compare(f"ipvs/{name}.plan", "\n".join([*lines, ""]) + ipset.partial({}, found.members, "IPv4"))


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_rules_never_change_and_name_sets_and_chains_that_exist(family):
    rules = rule.rules(family, local="-s 10.244.0.0/16", remote="! -s 10.244.0.0/16", masquerade_all=False, mark=0x4000)
    text = "".join(table.full(rules, {}, rule.JUMPS))
    if family == "IPv4":
        compare("ipvs/iptables.rules", text)
    sets = {ipset.name(one, family) for one in ipset.TYPES}
    assert len(sets) == len(ipset.TYPES)
    assert all(len(one) <= 31 for one in sets)
    words = text.split()
    assert {after for word, after in itertools.pairwise(words) if word == "--match-set"} <= sets
    targets = {line.rpartition("-j ")[2].split()[0] for line in text.splitlines() if "-j KUBE-" in line}
    assert targets <= chain.ALL


def test_sets_change_by_their_members():
    old, new = plan("cluster-ip").members, plan("node-port").members
    assert ipset.partial(old, old, "IPv4") == ""
    assert ipset.partial(old, new, "IPv4") == "add KUBE-NODE-PORT-TCP 30080 -exist\n"
    assert ipset.partial(new, old, "IPv4") == "del KUBE-NODE-PORT-TCP 30080 -exist\n"


def test_a_set_is_filled_before_it_is_used():
    text = ipset.full(plan("node-port").members, "IPv6")
    assert text.index("add KUBE-SYNCING 30080") < text.index("swap KUBE-SYNCING KUBE-6-NODE-PORT-TCP")
