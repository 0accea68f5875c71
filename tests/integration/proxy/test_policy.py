"""Connectivity among nine pods in three namespaces, on real packet rules: for each set of policies every pod calls every other, over
IPv4 and, where the kernel has it, IPv6.

What is expected is written down for each case as a reading of the policy (`allowed(source, destination, port)`), not computed from
the rules. Pods are named by namespace and name: x/a, x/b, x/c, y/a, …; each listens on 80 (named serve-80) and 81 (serve-81).
"""
from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from kubepy.api.resource import NAMESPACES, NETWORK_POLICIES, NODES, PODS
from kubepy.base.clock import SystemClock
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.proxy.policy.enforcer import Enforcer
from tests.integration.proxy.net import Net

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nft")]

NAMES = [(namespace, name) for namespace in "xyz" for name in "abc"]
PORTS = (80, 81)
FAMILIES = ("4", "6")


def ip(index, family="4"):
    return f"10.244.0.{index + 2}" if family == "4" else f"fd44::{index + 2}"


def pod(index, address=True, node="node", name=None, labels=None):
    namespace, title = NAMES[index] if index < len(NAMES) else ("x", name)
    status = {"phase": "Running", "podIPs": [{"ip": ip(index, family)} for family in FAMILIES]} if address else {"phase": "Pending"}
    return {"metadata": {"name": title, "namespace": namespace, "labels": labels or {"pod": title}}, "status": status,
            "spec": {"nodeName": node, "containers": [
                {"name": "c", "ports": [{"name": f"serve-{port}", "containerPort": port, "protocol": "TCP"} for port in PORTS]}]}}


def policy(name="p", namespace="x", select=None, **spec):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": select or {}, **spec}}


def label(**labels):
    return {"matchLabels": labels}


def block(bits, *, but=()):
    """The same block of the pods' addresses in both families: so many bits left for those in it; without the addresses of some pods."""
    return [{"ipBlock": {"cidr": f"{start}/{length - bits}", **({"except": [f"{ip(one, family)}/{length}" for one in but]} if but else {})}}
            for family, start, length in (("4", "10.244.0.0", 32), ("6", "fd44::", 128))]


A, B = label(pod="a"), label(pod="b")
TCP80, TCP81 = {"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}

CASES = {
    "no policy: everything is open": ([], lambda s, d, port: True),
    "deny all ingress": ([policy()], lambda s, d, port: d[0] != "x"),
    "deny all egress": ([policy(policyTypes=["Egress"])], lambda s, d, port: s[0] != "x"),
    "deny both ways": ([policy(policyTypes=["Ingress", "Egress"])], lambda s, d, port: "x" not in (s[0], d[0])),
    "an empty rule allows all": ([policy(ingress=[{}])], lambda s, d, port: True),
    "only one pod is selected": ([policy(select=A)], lambda s, d, port: d != ("x", "a")),
    "ingress from pods of the namespace": (
        [policy(select=A, ingress=[{"from": [{"podSelector": B}]}])], lambda s, d, port: d != ("x", "a") or s == ("x", "b")),
    "ingress from namespaces": (
        [policy(select=A, ingress=[{"from": [{"namespaceSelector": label(ns="y")}]}])], lambda s, d, port: d != ("x", "a") or s[0] == "y"),
    "ingress from pods of namespaces": (
        [policy(select=A, ingress=[{"from": [{"namespaceSelector": label(ns="y"), "podSelector": B}]}])],
        lambda s, d, port: d != ("x", "a") or s == ("y", "b")),
    "ingress from pods, or from namespaces": (
        [policy(select=A, ingress=[{"from": [{"namespaceSelector": label(ns="y")}, {"podSelector": B}]}])],
        lambda s, d, port: d != ("x", "a") or s[0] == "y" or s == ("x", "b")),
    "expressions in selectors": (
        [policy(ingress=[{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["x"]}]},
                                    "podSelector": {"matchExpressions": [{"key": "pod", "operator": "In", "values": ["a", "c"]}]}}]}])],
        lambda s, d, port: d[0] != "x" or (s[0] != "x" and s[1] in "ac")),
    "a port": ([policy(select=A, ingress=[{"ports": [TCP80]}])], lambda s, d, port: d != ("x", "a") or port == 80),
    "a port by its name": (
        [policy(select=A, ingress=[{"ports": [{"port": "serve-81", "protocol": "TCP"}]}])],
        lambda s, d, port: d != ("x", "a") or port == 81),
    "a range of ports": (
        [policy(select=A, ingress=[{"ports": [{"port": 81, "endPort": 90, "protocol": "TCP"}]}])],
        lambda s, d, port: d != ("x", "a") or port == 81),
    "another protocol": (
        [policy(select=A, ingress=[{"ports": [{"port": 80, "protocol": "UDP"}]}])], lambda s, d, port: d != ("x", "a")),
    "SCTP alone": (
        [policy(select=A, ingress=[{"ports": [{"port": 80, "protocol": "SCTP"}]}])], lambda s, d, port: d != ("x", "a")),
    "ranges of ports and exceptions that overlap": (
        [policy(select=A, ingress=[{"ports": [TCP81, {"port": 81, "endPort": 90, "protocol": "TCP"}, {"port": 85, "endPort": 99}],
                                    "from": block(8, but=(3, 3, 4))}])],
        lambda s, d, port: d != ("x", "a") or (port == 81 and s not in (("y", "a"), ("y", "b")))),
    "a protocol without a port": (
        [policy(select=A, ingress=[{"ports": [{"protocol": "TCP"}]}])], lambda s, d, port: True),
    "peers and ports of one rule both count": (
        [policy(select=A, ingress=[{"from": [{"podSelector": B}], "ports": [TCP80]}])],
        lambda s, d, port: d != ("x", "a") or (s == ("x", "b") and port == 80)),
    "rules add up": (
        [policy(select=A, ingress=[{"from": [{"podSelector": B}], "ports": [TCP80]}, {"ports": [TCP81]}])],
        lambda s, d, port: d != ("x", "a") or port == 81 or s == ("x", "b")),
    "policies add up": (
        [policy("deny"), policy("one", select=A, ingress=[{"from": [{"podSelector": B}]}]),
         policy("two", select=A, ingress=[{"from": [{"namespaceSelector": label(ns="z")}]}])],
        lambda s, d, port: d[0] != "x" or (d[1] == "a" and (s == ("x", "b") or s[0] == "z"))),
    "an address block": (
        [policy(select=A, ingress=[{"from": [{"ipBlock": {"cidr": f"{ip(3)}/32"}}, {"ipBlock": {"cidr": f"{ip(3, '6')}/128"}}]}])],
        lambda s, d, port: d != ("x", "a") or s == ("y", "a")),
    "an address block with exceptions": (
        [policy(select=A, ingress=[{"from": block(8, but=(3, 4))}])],
        lambda s, d, port: d != ("x", "a") or s not in (("y", "a"), ("y", "b"))),
    "egress to pods of namespaces": (
        [policy(select=A, policyTypes=["Egress"], egress=[{"to": [{"namespaceSelector": label(ns="y"), "podSelector": B}]}])],
        lambda s, d, port: s != ("x", "a") or d == ("y", "b")),
    "egress to a named port": (
        [policy(select=A, policyTypes=["Egress"], egress=[{"ports": [{"port": "serve-80", "protocol": "TCP"}]}])],
        lambda s, d, port: s != ("x", "a") or port == 80),
    "an address block of one family": (
        [policy(select=A, ingress=[{"from": block(8)[1:]}])], lambda s, d, port: d != ("x", "a"), lambda s, d, port: True),
    "egress to an address block": (
        [policy(select=A, policyTypes=["Egress"], egress=[{"to": block(3)}])],
        lambda s, d, port: s != ("x", "a") or NAMES.index(d) <= 5),
    "both sides must allow": (
        [policy("out", "x", A, policyTypes=["Egress"], egress=[{"to": [{"namespaceSelector": label(ns="y")}]}]),
         policy("in", "y", A, ingress=[{"from": [{"namespaceSelector": label(ns="x"), "podSelector": B}]}])],
        lambda s, d, port: (s != ("x", "a") or d[0] == "y") and (d != ("y", "a") or s == ("x", "b"))),
}


class World:
    def __init__(self):
        self.net = Net(pods=10)
        self.families = FAMILIES if self.net.ipv6 else FAMILIES[:1]
        self.net.inside(self.net.node, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
        # The kernel tracks connections only where some rule asks for it; on a node the service proxy's do.
        self.net.inside(self.net.node, "nft", "add table inet tracked; add chain inet tracked passing { type filter hook forward"
                        " priority 0; }; add rule inet tracked passing ct state new counter")
        self.client = MemoryClient()
        self.client.load(NODES, {"metadata": {"name": "node"}, "spec": {"podCIDRs": ["10.244.0.0/24", "fd44::/64"]}})
        self.client.load(NAMESPACES, *({"metadata": {"name": name, "labels": {"ns": name}}} for name in "xyz"))
        self.client.load(PODS, *(pod(index) for index in range(9)))
        for index in range(10):
            for port in PORTS:
                self.net.listen(index, port)
        self.threads = ThreadPoolExecutor(120)

    async def reaches(self, pairs, timeout=0.4):
        """Of (source index, destination index, port[, family]) those that connect."""
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(*(loop.run_in_executor(self.threads, self._call, *pair, timeout) for pair in pairs))
        return {pair for pair, answer in zip(pairs, answers, strict=True) if answer}

    def _call(self, source, destination, port, *rest):
        family, timeout = rest if len(rest) > 1 else ("4", *rest)
        return self.net.call(self.net.pods[source], ip(destination, family), port, timeout=timeout) not in ("timeout", "refused")


@pytest.fixture(scope="module")
def world():
    found = World()
    yield found
    found.threads.shutdown()
    found.net.close()


@pytest.fixture
async def enforcer(world, monkeypatch):
    """Runs for one test; `nft` in the node's namespace."""
    from kubepy.proxy.policy import enforcer as module

    real = module.run

    async def inside(*command, stdin=b""):
        return await real(*command, stdin=stdin)

    monkeypatch.setattr(module, "run", inside)
    tasks, factory = Tasks("test"), InformerFactory(world.client)
    found = Enforcer("node", SystemClock(), ipvs=True)  # which adds to what is there otherwise
    found.register(factory)
    factory.start(tasks)
    tasks.keep(found.run, "policy")
    yield found
    for item in world.client.all(NETWORK_POLICIES):
        await world.client.delete(NETWORK_POLICIES, item["metadata"]["name"], item["metadata"]["namespace"])
    await until(lambda: rules(world) == "")
    await tasks.stop()


def rules(world):
    try:
        return world.net.inside(world.net.node, "nft", "list", "table", "inet", "kubepy-network-policy")
    except subprocess.CalledProcessError:  # there is none
        return ""


async def until(check, seconds=90):
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(check):  # noqa: ASYNC110 - the kernel is asked
            await asyncio.sleep(0.05)


EVERYONE = [(s, d, port) for s in range(9) for d in range(9) for port in PORTS]


@pytest.mark.parametrize("case", CASES)
async def test_truth_table(world, enforcer, case):
    policies, *allowed = CASES[case]
    by_family = dict(zip(FAMILIES, (allowed[0], allowed[-1]), strict=True))
    world.client.load(NETWORK_POLICIES, *policies)
    await until(lambda: len(policies) == 0 or "hook forward" in rules(world))
    pairs = [(*pair, family) for pair in EVERYONE for family in world.families]
    expected = {(s, d, port, family) for s, d, port, family in pairs if s == d or by_family[family](NAMES[s], NAMES[d], port)}
    found = await world.reaches(pairs)
    wrong = expected ^ found
    if wrong:  # a slow machine may have missed an answer, a rule that lets too much through will do so again
        wrong = {pair for pair in wrong if (pair in await world.reaches([pair], 3)) != (pair in expected)}
    assert not wrong, [(NAMES[s], NAMES[d], port, family) for s, d, port, family in sorted(wrong)]


async def test_a_change_is_in_force_within_a_second(world, enforcer):
    """From the change until packets pass, over each family."""
    world.client.load(NETWORK_POLICIES, policy(select=A, ingress=[{"from": [{"podSelector": label(role="friend")}]}]))
    await until(lambda: "hook forward" in rules(world))
    ways = [(1, 0, 80, family) for family in world.families]
    assert await world.reaches(ways) == set()
    taken = []
    for _ in range(3):
        began = time.monotonic()
        world.client.load(PODS, pod(1, labels={"pod": "b", "role": "friend"}))
        for way in ways:
            await until(lambda way=way: world._call(*way, 0.1))
        taken.append(time.monotonic() - began)
        world.client.load(PODS, pod(1))
        for way in ways:
            await until(lambda way=way: not world._call(*way, 0.3))
    print(f"a pod's new label took {[round(one * 1000) for one in taken]} ms")
    assert min(taken) < 1


async def test_what_ipvs_sends_on_is_filtered_too_and_the_nodes_own_is_not(world, enforcer):
    """IPVS is not in every kernel: packets with a pod's address that this machine sends are as good."""
    world.client.load(NETWORK_POLICIES, policy(select=A, ingress=[{"from": [{"podSelector": B}]}]))
    await until(lambda: ip(0) in rules(world))

    def serve():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", 83))
        made.settimeout(20)
        return made

    server = await asyncio.to_thread(world.net.do, world.net.pods[0], serve)
    world.net.servers.append(server)

    def send():
        for source, word in ((ip(2), b"c"), ("10.244.0.1", b"node"), (ip(1), b"b")):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
                client.bind((source, 0))
                with suppress(PermissionError):  # how a sender on this machine meets a rule that drops
                    client.sendto(word, (ip(0), 83))

    await asyncio.to_thread(world.net.do, world.net.node, send)
    assert [server.recv(10), server.recv(10)] == [b"node", b"b"]


async def test_a_new_pod_is_never_open(world, enforcer):
    world.client.load(NETWORK_POLICIES, policy(select=label(pod="new"), policyTypes=["Ingress", "Egress"]))
    await asyncio.sleep(0.3)
    closed = {(s, d, 80, family) for s, d in ((9, 0), (0, 9)) for family in world.families}
    others = {(1, 0, 80, family) for family in world.families}
    assert await world.reaches(closed, 3) == closed, "nothing is isolated here yet"
    world.client.load(PODS, pod(9, address=False, name="new"))  # it has its addresses already, but nobody has said so
    await until(lambda: "@local-4" in rules(world))
    assert await world.reaches([*closed, *others]) == others
    world.client.load(PODS, pod(9, name="new"))
    await until(lambda: ip(9) in rules(world))
    assert await world.reaches([*closed, *others]) == others
    await world.client.delete(PODS, "new", "x", grace_period_seconds=0)
    await until(lambda: ip(9) not in rules(world))


async def test_established_connections_are_kept_and_a_flush_is_mended(world, enforcer, monkeypatch):
    from kubepy.proxy.policy import enforcer as module

    monkeypatch.setattr(module, "PERIOD", 0.5)

    def connect():
        made = socket.create_connection((ip(0), 82), 5)
        made.settimeout(5)
        return made

    def serve():
        listener = socket.create_server(("0.0.0.0", 82))
        world.net.servers.append(listener)
        return listener

    listener = await asyncio.to_thread(world.net.do, world.net.pods[0], serve)
    client = await asyncio.to_thread(world.net.do, world.net.pods[1], connect)
    peer, _ = listener.accept()
    world.client.load(NETWORK_POLICIES, policy())
    await until(lambda: "hook forward" in rules(world))
    peer.sendall(b"still here")
    client.sendall(b"me too")
    assert (client.recv(20), peer.recv(20)) == (b"still here", b"me too")
    assert await world.reaches([(1, 0, 80)]) == set()
    world.net.inside(world.net.node, "nft", "flush", "ruleset")
    await until(lambda: "hook forward" in rules(world))
    assert await world.reaches([(1, 0, 80)]) == set()
    client.close()
    peer.close()
