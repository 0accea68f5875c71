"""Real connections through each backend, in network namespaces of our own: one table of cases for all of them.

Which backends: iptables and nftables, or those that $KUBEPY_PROXY_BACKENDS names. IPVS is not in every kernel: `test_ipvs` runs these
same cases in a small virtual machine.
"""
from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kubepy.base.clock import SystemClock
from kubepy.proxy import conntrack, mode, program
from kubepy.proxy.backend import BackendError
from kubepy.proxy.ipvs.kernel import Ipvs
from kubepy.proxy.model import LocalTraffic, build
from tests.integration.proxy import net as networks
from tests.integration.proxy import packets as words

pytestmark = pytest.mark.root
BACKENDS = os.environ.get("KUBEPY_PROXY_BACKENDS", "iptables,nftables").split(",")
service, state, ADDRESSES = words.service, words.state, words.ADDRESSES
A, NODE_PORT = ADDRESSES["IPv4"], words.NODE_PORT


@pytest.fixture(scope="module")
def net():
    found = networks.Net()
    for index in range(3):
        found.listen(index)
        found.listen(index, 5353, socket.SOCK_DGRAM)
    yield found
    found.close()


def make(backend, family="IPv4", **settings):
    return mode.make(backend, mode.Settings(**{"local": LocalTraffic(ADDRESSES[family]["pods"]), **settings}), family)


@pytest.fixture(params=BACKENDS)
async def kind(request, net):
    """What one test leaves the next one's new backend must put right, as after a restart; where there are several, they would mix."""
    yield request.param
    if len(BACKENDS) > 1:
        for family in ("IPv4", "IPv6") if net.ipv6 else ("IPv4",):
            await make(request.param, family).cleanup()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_cases(net, kind, family, problems):
    if family == "IPv6" and not net.ipv6:
        pytest.skip("the kernel has no IPv6")
    backend = make(kind, family)
    if not await backend.available():
        pytest.skip(f"the kernel has no {kind} for {family}")
    a = ADDRESSES[family]
    for case in words.CASES:
        if case.settings:  # another proxy, which takes over
            one = make(kind, family, **case.settings)
            backend.forget()
        else:
            one = backend
        await one.apply(state(service(family, **case.service), family=family, ends=case.ends, about=words.node(family, **case.about)))
        for probe in case.probes:
            problem = await asyncio.to_thread(check, net, kind, a, probe)
            if problem:
                problems.append(f"{case.name}: {probe.who} to {probe.to}:{probe.port}: {problem}")
    await backend.cleanup()


@pytest.fixture
def problems():
    """Every problem of a table, not only the first."""
    found = []
    yield found
    assert not found, "\n".join(found)


def check(net, kind, a, probe):
    """What is wrong with what a probe met; None if nothing."""
    ns = {"client": net.client, "node": net.node}.get(probe.who) if probe.who in ("client", "node") else net.pods[int(probe.who[3])]
    own = {"client": a["client"], "node": ""}.get(probe.who) if probe.who in ("client", "node") else a["pod"].format(int(probe.who[3]) + 2)
    error = probe.error
    if error in ("dropped", "lost"):  # IPVS has no drop, and knows no clients: upstream's balances to other nodes, whose answer is lost
        error = {"dropped": ("refused",), "lost": ("timeout", "refused", "answered")}[error] if kind == "ipvs" else ("timeout",)
    if error:
        got = net.call(ns, a[probe.to], probe.port, timeout=0.4 if "timeout" in error else 3.0)
        shown = got if isinstance(got, str) else "answered"
        return None if shown in error else f"{got} instead of {error}"
    pods = probe.ipvs if kind == "ipvs" and probe.ipvs else probe.pods
    seen = {}
    for _ in range(60):
        got = net.call(ns, a[probe.to], probe.port)
        if isinstance(got, str):
            return got
        seen.setdefault(got[0], set()).add(got[1])
        if len(seen) == len(pods) > 1:
            break
        if len(pods) == 1 and sum(map(len, seen.values())) and _ >= 7:
            break
    sources = set().union(*seen.values())
    if set(seen) != {f"pod-{digit}" for digit in pods}:
        return f"answers of {sorted(seen)}"
    if (probe.source == "own" and sources != {own}) or (probe.source == "node" and own in sources):
        return f"source {sources}"
    return None


async def test_balance_is_even(net, kind):
    await make(kind).apply(state(service(), ends=("0", "1", "2")))
    counts = net.spread(net.client, A["cluster"], 80, 90)
    assert set(counts) == {"pod-0", "pod-1", "pod-2"}
    assert min(counts.values()) > 12


async def test_node_ports_answer_on_the_chosen_addresses_only(net, kind):
    about = words.node("IPv4", addresses=(A["bridge"],))
    await make(kind).apply(state(service(node_port=30080), about=about))
    assert net.call(net.client, A["node"], 30080) == "refused"
    assert net.call(net.client, A["bridge"], 30080)[0] in ("pod-0", "pod-1")


async def test_node_ports_on_loopback_are_for_iptables_alone(net, kind):
    await make(kind).apply(state(service(node_port=30080)))
    got = net.call(net.node, "127.0.0.1", 30080)
    assert got[0] in ("pod-0", "pod-1") if kind == "iptables" else got == "refused"


async def test_a_neighbour_reaches_no_loopback_address(net):
    """Node ports on loopback addresses need these to be routed: also when they come from outside."""
    if "iptables" not in BACKENDS:
        pytest.skip("for iptables")
    with net.do(net.node, lambda: socket.create_server(("127.0.0.77", 7777))):
        for line in ("rule add pref 1 lookup local", "rule del pref 0", f"route add 127.0.0.77 via {A['node']} src {A['client']} table 77",
                     "rule add pref 0 to 127.0.0.77 lookup 77"):
            networks.run("ip", "-n", net.client, *line.split())
        net.inside(net.client, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
        net.inside(net.node, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")

        def reached():
            try:
                net.open(net.client, "127.0.0.77", 7777, timeout=1.0).close()
            except TimeoutError:
                return False
            return True

        assert reached()
        backend = make("iptables")
        await backend.apply(state(service()))
        assert not reached()
        net.open(net.node, "127.0.0.77", 7777).close()
        await backend.cleanup()
        networks.run("ip", "-n", net.client, "rule", "del", "pref", "0")


async def test_other_ports_of_a_cluster_ip_are_refused(net, kind):
    if kind == "iptables":
        pytest.skip("iptables leaves such packets to the routes, as upstream")
    await make(kind).apply(state(service()))
    assert net.call(net.pods[2], A["cluster"], 81) == "refused"


async def test_session_affinity_and_its_end(net, kind):
    backend = make(kind)
    sticky = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 2}}}
    await backend.apply(state(service(**sticky), ends=("0", "1", "2")))
    assert len(net.spread(net.client, A["cluster"], 80, 12)) == 1
    again = make(kind)
    await again.apply(state(service(**sticky), ends=("0", "1", "2")))  # a restart forgets no client
    assert len(net.spread(net.client, A["cluster"], 80, 12)) == 1
    if kind != "ipvs":  # there connections that have ended lengthen it by two minutes
        seen = set()
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            seen |= set(net.spread(net.client, A["cluster"], 80, 1))
            await asyncio.sleep(2.3)
        assert len(seen) > 1
    await again.apply(state(service(), ends=("0", "1", "2")))
    if kind != "ipvs":
        assert len(net.spread(net.client, A["cluster"], 80, 40)) > 1


async def test_what_came_and_went_leaves_nothing(net, kind):
    backend = make(kind)
    await backend.apply(state(service(node_port=30080, balancer=True, sources=("client",))))
    await backend.apply(state(service(), ends=("1",)))
    assert set(net.spread(net.client, A["cluster"], 80, 15)) == {"pod-1"}
    await backend.apply(state(service(), service(name="moved", ip=A["other"]), ends=("0",)))
    assert net.call(net.client, A["other"], 80)[0] == "pod-0"
    await backend.apply(build([], {}, words.node("IPv4"), "IPv4"))
    assert "ns/web" not in everything()
    assert A["cluster"] not in everything()


def everything():
    found = ""
    for command in ("iptables-save", "nft list ruleset", "ipset save", "ip addr", "cat /proc/net/ip_vs"):
        with suppress(OSError):
            found += subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
    return found


def shown_servers():
    return Path("/proc/net/ip_vs").read_text()


def fronts(now):
    [(name, one)] = now.services.items()
    return conntrack.fronts(one, now.endpoints.get(name, ()))


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_udp_follows_an_endpoints_death_and_only_that(net, kind, family):
    backend = make(kind, family)
    if (family == "IPv6" and not net.ipv6) or not await backend.available():
        pytest.skip(f"the kernel has no {kind} for {family}")
    one = service(family, name="dns", protocol="UDP", port=53)
    before, between, after = (state(one, family=family, ends=ends, target=5353, protocol="UDP") for ends in ("0", "01", "1"))
    await backend.apply(before)
    with net.open(net.client, ADDRESSES[family]["cluster"], 53, socket.SOCK_DGRAM) as client:
        for now, pod in ((before, b"pod-0"), (between, b"pod-0"), (between, b"pod-0"), (after, b"pod-1")):
            await backend.apply(now)
            await conntrack.clear(family, fronts(now), SystemClock())
            client.send(b"x")
            assert client.recv(100).startswith(pod)
    await backend.cleanup()


async def test_udp_to_a_node_port_follows_and_a_first_endpoint_is_found(net, kind):
    """The client's port stays the same all the time, as that of a resolver does: what the kernel remembers of it must go."""
    backend = make(kind)
    one = service(name="dns", protocol="UDP", port=53, node_port=NODE_PORT, kind="NodePort")
    states = [state(one, ends=ends, target=5353, protocol="UDP") for ends in ((), ("0",), ("1",))]
    for address, port in ((A["cluster"], 53), (A["node"], NODE_PORT)):
        await backend.apply(states[0])
        with net.open(net.client, address, port, socket.SOCK_DGRAM) as client:
            for number, now in enumerate(states):
                await backend.apply(now)
                await conntrack.clear("IPv4", fronts(now), SystemClock())
                client.send(b"x")
                if number:
                    assert client.recv(100).startswith(b"pod-%d" % (number - 1)), (address, number)
                else:
                    with pytest.raises(ConnectionRefusedError):
                        client.recv(100)


async def test_sctp(net, kind):
    try:
        net.listen(0, 9999, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    except OSError as error:
        pytest.skip(f"the kernel has no SCTP: {error}")
    await make(kind).apply(state(service(protocol="SCTP", port=99), ends=("0",), target=9999, protocol="SCTP"))
    assert net.call(net.pods[2], A["cluster"], 99, protocol=socket.IPPROTO_SCTP)[0] == "pod-0"


@pytest.mark.parametrize("how", ["restart", "another change", "its endpoint leaves", "flush and repair"])
async def test_an_open_connection_goes_on(net, kind, how):
    backend = make(kind)
    await backend.apply(state(service(), ends=("0",)))
    with net.open(net.client, A["cluster"], 80) as client:
        assert client.recv(100).startswith(b"pod-0")
        if how == "restart":
            await make(kind).apply(state(service(), ends=("0",)))
        elif how == "another change":
            await backend.apply(state(service(), service(name="two", ip=A["other"]), ends=("0", "1")))
        elif how == "its endpoint leaves":
            await backend.apply(state(service(), ends=("1",)))
            assert set(net.spread(net.client, A["cluster"], 80, 6)) == {"pod-1"}
        else:
            for command in ("iptables -t nat -F", "nft flush ruleset"):
                subprocess.run(command.split(), capture_output=True, check=False)
            await backend.intact()
            await backend.apply(state(service(), ends=("0",)))
        client.send(b"x")
        assert client.recv(100) == b"more"


FLUSHES = {"iptables": ("iptables -t nat -F", "iptables -t filter -F", "iptables -t mangle -F", "iptables -t nat -F KUBE-PROXY-CANARY"),
           "nftables": ("nft flush ruleset", "nft flush table ip kube-proxy", "nft delete table ip kube-proxy",
                          "nft flush chain ip kube-proxy services"),
           "ipvs": ("iptables -t nat -F", "ip link del kube-ipvs0", "virtual servers", "ipset flush")}


@pytest.mark.parametrize("number", [0, 1, 2, 3])
async def test_rules_flushed_by_others_come_back(net, kind, number):
    backend = make(kind)
    await backend.apply(state(service()))
    assert await backend.intact()
    if FLUSHES[kind][number] == "virtual servers":
        with Ipvs("IPv4") as ipvs:
            ipvs.remove(ipvs.services())
    else:
        net.inside(net.node, *FLUSHES[kind][number].split())
    assert not await backend.intact()
    await backend.apply(state(service()))
    assert net.call(net.client, A["cluster"], 80)[0] in ("pod-0", "pod-1")


async def test_a_new_proxy_takes_over_and_cleanup_leaves_nothing_but_others_rules(net, kind):
    await make(kind).apply(state(service()))
    again = make(kind)
    await again.apply(state(service(ip=A["other"])))
    assert net.call(net.client, A["other"], 80)[0] in ("pod-0", "pod-1")
    assert A["cluster"] not in everything()
    net.inside(net.node, "iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.1.1.1", "-j", "ACCEPT")
    assert await again.left_over()
    await again.cleanup()
    assert not await again.left_over()
    left = everything()
    assert "KUBE" not in left
    assert "kube" not in left
    assert "10.1.1.1" in left


async def test_two_services_that_claim_one_address(net, kind):
    if kind == "iptables":
        pytest.skip("the first rule wins")
    backend = make(kind)
    one, two = (service(name=name, ip=ip, external=True) for name, ip in (("a", A["cluster"]), ("b", A["other"])))
    await backend.apply(state(two, one, ends=("0",)))
    assert net.call(net.client, A["external"], 80)[0] == "pod-0"
    await backend.apply(state(two, ends=("1",)))
    assert net.call(net.client, A["external"], 80)[0] == "pod-1"


async def test_ipvs_schedulers_and_a_server_that_goes_when_its_connections_have_ended(net):
    if BACKENDS != ["ipvs"]:
        pytest.skip("for ipvs")
    for scheduler in ("wrr", "lc", "wlc", "sh", "sed", "nq", "mh"):
        await make("ipvs", scheduler=scheduler).apply(state(service()))
        assert f" {scheduler} " in shown_servers()
        assert net.call(net.client, A["cluster"], 80)[0] in ("pod-0", "pod-1")
    with pytest.raises(BackendError, match="no such scheduler"):
        await make("ipvs", scheduler="odd").apply(state(service(ip=A["other"])))
    backend = make("ipvs", tcp_fin_timeout=5)
    fresh = service(ip="10.96.0.77")  # ended connections to the others are remembered for two minutes
    await backend.apply(state(fresh, ends=("0",)))
    with net.open(net.client, "10.96.0.77", 80) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset, which IPVS forgets in 10 s
        await backend.apply(state(fresh, ends=("1",)))
        assert await backend.intact()
        assert "0AF40002:1F90      Masq    0" in shown_servers()  # pod 0 takes no new ones
    deadline = time.monotonic() + 60
    while "0AF40002" in shown_servers():
        assert await backend.intact()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)


async def test_transactions_follow_each_other_up_to_one_that_is_refused(net):
    if "iptables" not in BACKENDS:
        pytest.skip("for iptables")

    def text(name, rule="-j RETURN"):
        return f"*nat\n:{name} - [0:0]\n-A {name} {rule}\nCOMMIT\n"

    async def write(*texts):
        await program.restore(("iptables-restore", "--noflush"), texts)

    await write(text("ONE"), text("TWO", "-j ONE"), text("THREE", "-j TWO") + text("FOUR", "-j THREE"))
    for bad, complaint in (("-j NOWHERE", "Chain 'NOWHERE' does not exist|NOWHERE"), ("--odd", "unknown option")):
        with pytest.raises(BackendError, match=complaint):
            await write(text("FIVE"), text("SIX", bad), text("SEVEN"))
        shown = net.inside(net.node, "iptables-save", "-t", "nat")
        assert [name for name in ("FOUR", "FIVE", "SIX", "SEVEN") if f":{name} " in shown] == ["FOUR", "FIVE"]
    net.inside(net.node, "iptables", "-t", "nat", "-F")
    net.inside(net.node, "iptables", "-t", "nat", "-X")
    with pytest.raises(BackendError, match="no-such-program"):
        await program.restore(("no-such-program",), [text("ONE")])


async def test_a_long_iptables_chain_is_edited_and_says_the_same_as_one_written_anew(net):
    if "iptables" not in BACKENDS:
        pytest.skip("for iptables")
    backend = make("iptables")

    def many(*skip):
        return [service(name=f"s{index}", ip=f"10.96.1.{index}") for index in range(1, 80) if index not in skip]

    def rules():
        return [line for line in net.inside(net.node, "iptables-save", "-t", "nat").splitlines() if line.startswith("-A")]

    await backend.apply(state(*many(5)))
    await backend.apply(state(*many(7, 9), service(name="moved", ip="10.96.2.1")))
    edited = rules()
    backend.forget()
    await backend.apply(state(*many(7, 9), service(name="moved", ip="10.96.2.1")))
    assert sorted(edited) == sorted(rules())
    assert "KUBE-NODEPORTS" in [line for line in edited if line.startswith("-A KUBE-SERVICES")][-1]
    assert net.call(net.pods[2], "10.96.2.1", 80)[0] in ("pod-0", "pod-1")
    await backend.cleanup()
