"""Policies as rules: the recorded table, the smallest change, and what a node without a part in it writes."""
from __future__ import annotations

from pathlib import Path

from kubepy.proxy.policy.plan import plan
from kubepy.proxy.policy.ruleset import Ruleset
from kubepy.proxy.policy.transaction import change

GOLDEN = Path(__file__).parent / "golden" / "policy.nft"
NAMESPACES = [{"metadata": {"name": name, "labels": {"team": name}}} for name in ("shop", "ops")]


def pod(name, *addresses, namespace="shop", node="here", **labels):
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "status": {"podIPs": [{"ip": a} for a in addresses]},
            "spec": {"nodeName": node, "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}}


PODS = [pod("web", "10.1.0.2", "fd00::2", app="web"), pod("db", "10.1.0.3", app="db"), pod("far", "10.1.1.2", node="there", app="web"),
        pod("probe", "10.1.1.3", namespace="ops", node="there", app="probe")]
POLICY = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {
    "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"],
    "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}},
                          {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32"]}}, {"ipBlock": {"cidr": "2001:db8::/32"}}],
                 "ports": [{"port": "web"}, {"port": 9000, "endPort": 9010, "protocol": "UDP"}]}],
    "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 5432}]},
               {"ports": [{"protocol": "UDP", "port": 53}]}]}}


def planned(pods=PODS, policies=(POLICY,)):
    return plan(policies, pods, NAMESPACES, "here", ["10.1.0.0/24", "fd00::/64"])


def test_the_table_is_the_recorded_one(request):
    text = change(None, planned())
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_nothing_is_written_where_nothing_changes():
    assert change(planned(), planned(list(reversed(PODS)))) == ""


def test_a_pod_that_others_select_changes_elements_only():
    text = change(planned(), planned([*PODS, pod("probe-2", "10.1.1.4", namespace="ops", node="there")]))
    assert [line.split(" ", 4)[:2] for line in text.splitlines()] == [["add", "element"]]
    assert "{ 10.1.1.4 }" in text


def test_a_policy_of_pods_elsewhere_isolates_nothing_here():
    found = planned([pod("far", "10.1.1.2", node="there", app="web")])
    assert set(found.chains) == {"egress", "ingress"}
    assert not any("drop" in line for lines in found.chains.values() for line in lines)


def test_an_isolated_pod_without_an_address_closes_the_unknown_ones():
    found = planned([pod("new", app="web")])
    assert "ip saddr 10.1.0.0/24 ip saddr != @local-4 drop" in found.chains["egress"]
    assert "ip6 daddr fd00::/64 ip6 daddr != @local-6 drop" in found.chains["ingress"]


def test_pods_of_the_host_network_and_ended_ones_are_left_alone():
    host, ended = pod("host", "10.1.0.9", app="web"), pod("ended", "10.1.0.8", app="web")
    host["spec"]["hostNetwork"], ended["status"]["phase"] = True, "Succeeded"
    assert planned([host, ended]).chains == planned([]).chains


def test_a_port_by_its_name_is_what_each_pod_calls_so():
    other = pod("other", "10.1.0.4", app="web")
    other["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 9090},
                                               {"name": "web", "containerPort": 53, "protocol": "UDP"}]
    other["spec"]["initContainers"] = [{"ports": [{"name": "web", "containerPort": 1}]},
                                       {"restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 2}]}]
    [elements] = [collection.elements for name, collection in planned([*PODS, other]).collections.items()
                  if name.startswith("ingress") and name.endswith("-ports-4")]
    assert elements == {"10.1.0.2 . tcp . 8080", "10.1.0.4 . tcp . 9090", "10.1.0.4 . tcp . 2"}


def test_the_first_policy_and_none():
    assert change(Ruleset(), planned()).startswith("add table")
