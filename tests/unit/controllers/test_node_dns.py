"""Which nodes' DNS is asked, believed and published."""
from __future__ import annotations

import dnslib
import pytest

from kubepy.api.types import Object
from kubepy.base import nameserver as identity
from kubepy.controllers.endpoint.nameserver import MISSES, Tally, is_served, plan, slice_name

SERVICE: Object = {"metadata": {"name": "kube-dns", "namespace": "kube-system"}, "spec": {"clusterIP": "10.96.0.10", "ports": [
    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 10053}, {"name": "dns-tcp", "port": 53, "targetPort": 10053}]}}
NODE: Object = {"metadata": {"name": "n1", "uid": "u1", "labels": {"topology.kubernetes.io/zone": "a"}}, "status": {"addresses": [
    {"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "192.0.2.1"}, {"type": "InternalIP", "address": "fd00::1"}]}}
READY, GONE = plan(SERVICE, NODE, True, None), plan(SERVICE, NODE, False, plan(SERVICE, NODE, True, None))


def with_spec(**spec: object) -> Object:
    return {**SERVICE, "spec": {**SERVICE["spec"], **spec}}


def test_a_node_that_answers_is_an_endpoint_for_its_own_pods_first() -> None:
    assert READY is not None
    assert READY["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}]
    assert READY["endpoints"] == [{"addresses": ["192.0.2.1"], "nodeName": "n1", "zone": "a",
                                   "conditions": {"ready": True, "serving": True, "terminating": False},
                                   "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "n1"}]}}]
    assert READY["ports"] == [{"name": "dns", "port": 10053, "protocol": "UDP"}, {"name": "dns-tcp", "port": 10053, "protocol": "TCP"}]


@pytest.mark.parametrize(("service", "node", "ready", "current", "expected"), [
    pytest.param(SERVICE, NODE, True, None, True, id="answers"),
    pytest.param(SERVICE, NODE, False, READY, False, id="has fallen silent"),
    pytest.param(SERVICE, NODE, None, READY, True, id="not asked enough yet, after a ready one"),
    pytest.param(SERVICE, NODE, None, GONE, False, id="not asked enough yet, after one that was not ready"),
    pytest.param(SERVICE, NODE, None, None, None, id="not asked enough yet, never seen"),
    pytest.param(SERVICE, NODE, False, None, None, id="has never answered: runs none"),
    pytest.param(SERVICE, None, True, READY, None, id="the node is gone"),
    pytest.param(SERVICE, {**NODE, "metadata": {**NODE["metadata"], "deletionTimestamp": "x"}}, True, READY, None, id="the node goes"),
    pytest.param(SERVICE, {**NODE, "status": {}}, True, READY, None, id="no address"),
    pytest.param(None, NODE, True, READY, None, id="no Service"),
    pytest.param(with_spec(selector={"k8s-app": "kube-dns"}), NODE, True, READY, None, id="an add-on has taken over"),
])
def test_what_is_published(service: Object | None, node: Object | None, ready: bool | None, current: Object | None,
                           expected: bool | None) -> None:
    found = plan(service, node, ready, current)
    assert (None if found is None else found["endpoints"][0]["conditions"]["ready"]) is expected


def test_the_family_is_the_services() -> None:
    found = plan(with_spec(clusterIP="fd00::a"), NODE, True, None)
    assert found is not None
    assert (found["addressType"], found["endpoints"][0]["addresses"]) == ("IPv6", ["fd00::1"])
    assert not is_served(with_spec(selector={"a": "b"}))


def test_a_long_name_is_shortened() -> None:
    assert slice_name("kube-dns", "n" * 244) == "kube-dns-" + "n" * 244
    assert len({slice_name("kube-dns", "n" * 245), slice_name("kube-dns", "n" * 246)}) == 2


def test_silence_counts_after_three_times_and_a_refusal_at_once() -> None:
    tally = Tally()
    assert tally.hear("ab", {"a": "a", "b": "b"}) == ["a", "b"]
    for _ in range(MISSES - 1):
        assert tally.hear("ab", {"a": "a"}) == []
    assert tally.hear("ab", {"a": "a", "b": "b"}) == [], "an answer in between makes good for the silences"
    changes = [tally.hear("ab", {"a": "a"}) for _ in range(MISSES)]
    assert changes == [[], [], ["b"]]
    assert tally.hear("ab", {"a": "", "b": "b"}) == ["a", "b"], "one is about to stop, the other is back"
    assert tally.ready == {"a": False, "b": True}


def test_another_name_is_no_answer() -> None:
    tally = Tally()
    tally.hear("ab", {"a": "b", "b": "b"})
    assert tally.ready == {"a": False, "b": True}


def test_when_nobody_answers_nobody_is_taken_out() -> None:
    tally = Tally()
    tally.hear("ab", {"a": "a", "b": "b"})
    assert [tally.hear("ab", {}) for _ in range(MISSES + 1)] == [[]] * (MISSES + 1)
    assert tally.ready == {"a": True, "b": True}


def test_what_is_gone_is_forgotten() -> None:
    tally = Tally()
    tally.hear("ab", {"a": "a"})
    tally.hear("b", {"b": "b"})
    assert tally.ready == {"b": True}


def test_the_question_is_what_another_decoder_reads() -> None:
    asked = dnslib.DNSRecord.parse(identity.query(7))
    assert (str(asked.q.qname), asked.q.qtype, asked.q.qclass, asked.header.id) == ("id.server.", 16, 3, 7)
    reply = asked.reply(ra=0)
    assert identity.parse(bytes(reply.pack())) == (7, ""), "no answer in it"
    reply.add_answer(dnslib.RR("id.server", 16, 3, 0, dnslib.TXT("n1")))
    assert identity.parse(bytes(reply.pack())) == (7, "n1")
    assert identity.parse(identity.query(7)) is None, "a query is no response"
    assert identity.parse(b"\x00" * 40) is None
