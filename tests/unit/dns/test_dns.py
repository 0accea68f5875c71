"""Records, answers and messages, read back with an independent decoder (dnslib)."""
from __future__ import annotations

import dnslib
import pytest

from kubepy.base import nameserver
from kubepy.base.clock import SystemClock
from kubepy.dns import wire
from kubepy.dns.kept import Kept
from kubepy.dns.record import hosts_records, service_records
from kubepy.dns.server import Resolver
from kubepy.dns.upstream import Upstream, read_resolv_conf
from kubepy.dns.zone import Zone


def service(name="web", namespace="default", ip="10.96.0.7", ports=(("http", 80),), **spec):
    return {"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "clusterIPs": [ip] if ip else [],
                     "ports": [{"name": n, "port": p, "protocol": "TCP"} for n, p in ports], **spec}}


def endpoints(*items, ports=(("http", 8080),), kind="IPv4"):
    return {"addressType": kind, "ports": [{"name": n, "port": p, "protocol": "TCP"} for n, p in ports], "endpoints": [
        {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": host} if host else {})}
        for address, host, ready in items]}


@pytest.fixture
def resolver():
    zone = Zone()
    for namespace in ("default", "kube-system"):
        zone.set_namespace(namespace, True)
    zone.set_server(["10.96.0.10"])
    pods = endpoints(("10.244.0.5", "db-0", True), ("10.244.0.6", "", True), ("10.244.0.7", "db-2", False))
    for key, one, slices in (
        ("default/web", service(), []),
        ("default/dual", service("dual", ip="10.96.0.8", clusterIPs=["10.96.0.8", "fd00::8"], ports=(("", 80),)), []),
        ("default/db", service("db", ip="None"), [pods]),
        ("default/empty", service("empty", ip="None"), [endpoints(("10.244.0.9", "", False))]),
        ("default/out", service("out", ip="", type="ExternalName", externalName="example.com"), []),
        ("default/alias", service("alias", ip="", type="ExternalName", externalName="web.default.svc.cluster.local"), []),
        ("default/again", service("again", ip="", type="ExternalName", externalName="alias.default.svc.cluster.local"), []),
        ("default/round", service("round", ip="", type="ExternalName", externalName="round.default.svc.cluster.local"), []),
        ("default/outer", service("outer", ip="", type="ExternalName", externalName="out.default.svc.cluster.local"), []),
    ):
        zone.replace(key, service_records(one, slices, zone.domain))
    found = Resolver(zone, Upstream([]))
    found.zone = zone
    return found


def ask(resolver, name, kind="A", limit=512, **header):
    query = dnslib.DNSRecord.question(name, kind)
    reply = resolver.now(wire.parse_question(bytes(query.pack())), limit)
    if reply is None:
        return None
    parsed = dnslib.DNSRecord.parse(reply)
    assert parsed.header.id == query.header.id
    assert str(parsed.q.qname) == name.rstrip(".") + "."
    return parsed


def shown(records):
    return sorted(f"{record.rname} {dnslib.QTYPE[record.rtype]} {record.rdata}" for record in records)


@pytest.mark.parametrize(("name", "kind", "answers"), [
    pytest.param("web.default.svc.cluster.local", "A", ["web.default.svc.cluster.local. A 10.96.0.7"], id="cluster IP"),
    pytest.param("WEB.Default.svc.cluster.LOCAL", "A", ["WEB.Default.svc.cluster.LOCAL. A 10.96.0.7"], id="any case, repeated as asked"),
    pytest.param("dual.default.svc.cluster.local", "AAAA", ["dual.default.svc.cluster.local. AAAA fd00::8"], id="dual stack"),
    pytest.param("_http._tcp.web.default.svc.cluster.local", "SRV",
                 ["_http._tcp.web.default.svc.cluster.local. SRV 0 100 80 web.default.svc.cluster.local."], id="named port"),
    pytest.param("7.0.96.10.in-addr.arpa", "PTR", ["7.0.96.10.in-addr.arpa. PTR web.default.svc.cluster.local."], id="reverse"),
    pytest.param("db.default.svc.cluster.local", "A",
                 ["db.default.svc.cluster.local. A 10.244.0.5", "db.default.svc.cluster.local. A 10.244.0.6"],
                 id="headless: the ready endpoints"),
    pytest.param("db-0.db.default.svc.cluster.local", "A", ["db-0.db.default.svc.cluster.local. A 10.244.0.5"], id="hostname"),
    pytest.param("10-244-0-6.db.default.svc.cluster.local", "A", ["10-244-0-6.db.default.svc.cluster.local. A 10.244.0.6"],
                 id="endpoint without a hostname"),
    pytest.param("5.0.244.10.in-addr.arpa", "PTR", ["5.0.244.10.in-addr.arpa. PTR db-0.db.default.svc.cluster.local."],
                 id="reverse of an endpoint"),
    pytest.param("_http._tcp.db.default.svc.cluster.local", "SRV",
                 ["_http._tcp.db.default.svc.cluster.local. SRV 0 50 8080 10-244-0-6.db.default.svc.cluster.local.",
                  "_http._tcp.db.default.svc.cluster.local. SRV 0 50 8080 db-0.db.default.svc.cluster.local."], id="headless SRV"),
    pytest.param("alias.default.svc.cluster.local", "A",
                 ["alias.default.svc.cluster.local. CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. A 10.96.0.7"],
                 id="alias inside the cluster"),
    pytest.param("out.default.svc.cluster.local", "CNAME", ["out.default.svc.cluster.local. CNAME example.com."], id="alias asked as such"),
    pytest.param("10-244-0-5.default.pod.cluster.local", "A", ["10-244-0-5.default.pod.cluster.local. A 10.244.0.5"], id="pod"),
    pytest.param("dns-version.cluster.local", "TXT", ['dns-version.cluster.local. TXT "1.1.0"'], id="version"),
    pytest.param("cluster.local", "NS", ["cluster.local. NS ns.dns.cluster.local."], id="name server"),
])
def test_answers(resolver, name, kind, answers):
    reply = ask(resolver, name, kind)
    assert shown(reply.rr) == answers
    assert (reply.header.rcode, reply.header.aa, reply.header.ra) == (0, 1, 1)


@pytest.mark.parametrize(("name", "kind", "rcode"), [
    pytest.param("web.default.svc.cluster.local", "AAAA", "NOERROR", id="no such type"),
    pytest.param("_tcp.web.default.svc.cluster.local", "A", "NOERROR", id="something is below it"),
    pytest.param("default.svc.cluster.local", "A", "NOERROR", id="a namespace"),
    pytest.param("svc.cluster.local", "A", "NOERROR", id="the services' domain"),
    pytest.param("nothere.default.svc.cluster.local", "A", "NXDOMAIN", id="no such service"),
    pytest.param("web.nothere.svc.cluster.local", "A", "NXDOMAIN", id="no such namespace"),
    pytest.param("empty.default.svc.cluster.local", "A", "NXDOMAIN", id="headless without ready endpoints"),
    pytest.param("10-244-0-5.nothere.pod.cluster.local", "A", "NXDOMAIN", id="a pod of no namespace"),
    pytest.param("other.cluster.local", "A", "NXDOMAIN", id="anything else of ours"),
])
def test_negative_answers_carry_the_soa(resolver, name, kind, rcode):
    reply = ask(resolver, name, kind)
    assert not reply.rr
    assert dnslib.RCODE[reply.header.rcode] == rcode
    assert [str(record.rname) for record in reply.auth] == ["cluster.local."]
    assert reply.auth[0].rtype == dnslib.QTYPE.SOA


def test_srv_answers_bring_the_addresses(resolver):
    reply = ask(resolver, "_http._tcp.db.default.svc.cluster.local", "SRV")
    assert shown(reply.ar) == ["10-244-0-6.db.default.svc.cluster.local. A 10.244.0.6", "db-0.db.default.svc.cluster.local. A 10.244.0.5"]


def test_a_hosts_file_adds_names(resolver):
    text = "192.0.2.1 printer.example.com printer # the one downstairs\nfd00::1 printer\nnonsense x\n\n"
    resolver.zone.replace("/hosts", hosts_records(text))
    assert shown(ask(resolver, "Printer.example.com").rr) == ["Printer.example.com. A 192.0.2.1"]
    assert shown(ask(resolver, "printer", "AAAA").rr) == ["printer. AAAA fd00::1"]
    assert shown(ask(resolver, "1.2.0.192.in-addr.arpa", "PTR").rr) == ["1.2.0.192.in-addr.arpa. PTR printer.example.com."]
    assert ask(resolver, "other.example.com") is None


@pytest.mark.parametrize("name", ["example.com", "1.1.1.1.in-addr.arpa", "out.default.svc.cluster.local",
                                  "outer.default.svc.cluster.local"])
def test_what_is_not_ours_takes_longer(resolver, name):
    assert ask(resolver, name) is None


def test_large_answers_are_cut_for_udp_and_whole_for_tcp(resolver):
    many = [endpoints(*((f"10.244.{i // 250}.{i % 250 + 1}", "", True) for i in range(300)))]
    resolver.zone.replace("default/db", service_records(service("db", ip="None"), many, "cluster.local"))
    reply = ask(resolver, "db.default.svc.cluster.local")
    assert reply.header.tc
    assert 20 < len(reply.rr) < 31
    whole = ask(resolver, "db.default.svc.cluster.local", limit=None)
    assert not whole.header.tc
    assert len(whole.rr) == 300


def test_edns_is_answered_with_edns(resolver):
    query = dnslib.DNSRecord.question("web.default.svc.cluster.local")
    query.add_ar(dnslib.EDNS0(udp_len=4096))
    question = wire.parse_question(bytes(query.pack()))
    assert (question.edns, question.size) == (True, 4096)
    reply = dnslib.DNSRecord.parse(resolver.now(question, 1232))
    assert [record.rtype for record in reply.ar] == [41]


def test_a_later_edns_than_there_is_is_told_so():
    query = dnslib.DNSRecord.question("web.default.svc.cluster.local")
    query.add_ar(dnslib.EDNS0(version=1))
    data = bytes(query.pack())
    with pytest.raises(wire.BadVersion):
        wire.parse_question(data)
    reply = dnslib.DNSRecord.parse(wire.refuse_version(data))
    assert (reply.header.id, reply.ar[0].edns_rcode << 4 | reply.header.rcode) == (query.header.id, 16)


def test_a_service_that_changes_changes_its_names(resolver):
    zone = resolver.zone
    assert zone.replace("default/web", service_records(service(ip="10.96.0.99"), [], zone.domain))
    assert shown(ask(resolver, "web.default.svc.cluster.local").rr) == ["web.default.svc.cluster.local. A 10.96.0.99"]
    assert ask(resolver, "7.0.96.10.in-addr.arpa", "PTR") is None
    assert zone.replace("default/web", {})
    assert ask(resolver, "web.default.svc.cluster.local").header.rcode == 3
    assert ask(resolver, "_tcp.web.default.svc.cluster.local").header.rcode == 3
    assert not zone.replace("default/web", {})


def test_additional_addresses_follow_changes(resolver):
    name = "_http._tcp.web.default.svc.cluster.local"
    assert shown(ask(resolver, name, "SRV").ar) == ["web.default.svc.cluster.local. A 10.96.0.7"]
    resolver.zone.replace("default/web", service_records(service(ip="10.96.0.99"), [], "cluster.local"))
    assert shown(ask(resolver, name, "SRV").ar) == ["web.default.svc.cluster.local. A 10.96.0.99"]


@pytest.mark.parametrize("data", [b"", b"\x00" * 11, b"\x00" * 40, b"\x12\x34\x01\x00\x00\x01" + b"\x00" * 6 + b"\x3fabc",
                                  b"\x12\x34\x01\x00\x00\x01" + b"\x00" * 6 + b"\xc0\x0c\x00\x01\x00\x01"],
                         ids=["nothing", "half a header", "no question", "a label that runs out", "a pointer"])
def test_nonsense_is_refused(data):
    with pytest.raises((wire.WireError, IndexError)):
        wire.parse_question(data)


def test_foreign_answers_age():
    question = wire.parse_question(bytes(dnslib.DNSRecord.question("example.com").pack()))
    reply = dnslib.DNSRecord(dnslib.DNSHeader(id=7, qr=1, ra=1), q=dnslib.DNSQuestion("example.com"))
    reply.add_answer(dnslib.RR("example.com", 5, rdata=dnslib.CNAME("www.example.com"), ttl=300),
                     dnslib.RR("www.example.com", 1, rdata=dnslib.A("1.2.3.4"), ttl=60))
    reply.add_ar(dnslib.EDNS0())
    foreign = wire.parse_response(bytes(reply.pack()))
    assert foreign.ttl == 60
    again = dnslib.DNSRecord.parse(wire.relay(question, foreign, 20, 512))
    assert [(str(r.rname), r.ttl) for r in again.rr] == [("example.com.", 280), ("www.example.com.", 40)]
    assert again.header.id == question.id
    assert not again.header.aa


def test_resolv_conf():
    assert read_resolv_conf("# x\nnameserver 10.0.0.1\nsearch a b\nnameserver fd00::1\n") == [("10.0.0.1", 53), ("fd00::1", 53)]


def test_an_alias_of_an_alias_follows_what_it_stands_for(resolver):
    again, alias = "again.default.svc.cluster.local. CNAME alias.default.svc.cluster.local.", \
        "alias.default.svc.cluster.local. CNAME web.default.svc.cluster.local."
    assert shown(ask(resolver, "again.default.svc.cluster.local").rr) == [again, alias, "web.default.svc.cluster.local. A 10.96.0.7"]
    assert shown(ask(resolver, "again.default.svc.cluster.local", "CNAME").rr) == [again]
    db = service_records(service("alias", ip="", type="ExternalName", externalName="db.default.svc.cluster.local"), [], "cluster.local")
    resolver.zone.replace("default/alias", db)
    assert "db.default.svc.cluster.local. A 10.244.0.5" in shown(ask(resolver, "again.default.svc.cluster.local").rr)
    assert len(ask(resolver, "round.default.svc.cluster.local").rr) < 20, "a circle ends"


def identify(resolver, name="id.server", kind="TXT", qclass=3):
    query = dnslib.DNSRecord(q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, kind), qclass))
    return dnslib.DNSRecord.parse(resolver.now(wire.parse_question(bytes(query.pack())), 512))


def test_a_server_says_whose_it_is_until_it_is_about_to_stop(resolver):
    named = Resolver(resolver.zone, Upstream([]), "n1")
    for name in ("id.server", "ID.Server", "hostname.bind"):
        assert [str(record.rdata) for record in identify(named, name).rr] == ['"n1"']
    assert nameserver.parse(named.now(wire.parse_question(nameserver.query(9)), 512)) == (9, "n1")
    assert identify(named, "version.bind").header.rcode == identify(named, kind="A").header.rcode == wire.REFUSED
    assert identify(named, qclass=4).header.rcode == identify(resolver).header.rcode == wire.REFUSED
    named.stopping = True
    assert identify(named).header.rcode == wire.SERVFAIL
    assert nameserver.parse(named.now(wire.parse_question(nameserver.query(9)), 512)) == (9, "")
    assert ask(named, "web.default.svc.cluster.local").rr, "everything else is still answered"


async def test_names_outlive_the_process(resolver, tmp_path):
    path = str(tmp_path / "dns.json")
    await Kept(path, resolver.zone, SystemClock()).save()
    zone = Zone()
    again = Kept(path, zone, SystemClock())
    assert again.load()
    later = Resolver(zone, Upstream([]))
    for name, kind in (("web.default.svc.cluster.local", "A"), ("_http._tcp.db.default.svc.cluster.local", "SRV"),
                       ("5.0.244.10.in-addr.arpa", "PTR"), ("10-244-0-5.default.pod.cluster.local", "A"),
                       ("alias.default.svc.cluster.local", "A"), ("cluster.local", "NS"), ("ns.dns.cluster.local", "A")):
        assert shown(ask(later, name, kind).rr) == shown(ask(resolver, name, kind).rr) != []
    zone.keep_only({"default/web"}, {"default"})
    assert ask(later, "web.default.svc.cluster.local").rr
    assert ask(later, "db.default.svc.cluster.local").header.rcode == wire.NXDOMAIN
    assert ask(later, "10-244-0-5.kube-system.pod.cluster.local").header.rcode == wire.NXDOMAIN


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"format": 0}', '{"format": 1, "domain": "other", "records": {}}',
                                  '{"format": 1, "domain": "cluster.local", "records": {"a/b": {"x": 1}}, "namespaces": [], "time": 1}'])
def test_what_cannot_be_read_is_as_nothing(tmp_path, text):
    path = tmp_path / "dns.json"
    if text is not None:
        path.write_text(text)
    assert not Kept(str(path), Zone(), SystemClock()).load()
    assert not Kept("", Zone(), SystemClock()).load()


def test_the_longest_stub_domain_counts():
    upstream = Upstream([("a", 53)], {"example.com": [("b", 53)], "deep.example.com": [("c", 53)]})
    assert [upstream.servers(wire.encode_name(name))[0][0] for name in ("example.org", "x.example.com", "x.deep.example.com", "axample.com")
            ] == ["a", "b", "c", "a"]
