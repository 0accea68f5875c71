"""The pod network between two nodes in namespaces of their own: packets through each backend, and what comes and goes with nodes."""
from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
NODES = ("a,192.0.2.1,10.244.0.0/24", "b,192.0.2.2,10.244.1.0/24")
ROOT = Path(__file__).resolve().parents[3]


class Pair:
    """Two nodes on a link; each has its pods' gateway address on a bridge."""

    def __init__(self) -> None:
        tag = uuid.uuid4().hex[:6]
        self.names = {"a": f"kpn-{tag}-a", "b": f"kpn-{tag}-b"}

    def create(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "link", "add", "eth0", "netns", self.names["a"], "type", "veth", "peer", "name", "eth0", "netns",
                        self.names["b"]], check=True)
        for number, node in enumerate("ab"):
            for command in ("link set lo up", "link set eth0 up", f"address add 192.0.2.{number + 1}/24 dev eth0",
                            f"address add 2001:db8::{number + 1}/64 dev eth0 nodad", "link add cni0 type bridge",
                            f"address add 10.244.{number}.1/24 dev cni0", f"address add fd00:244:0:{number}::1/64 dev cni0 nodad",
                            "link set cni0 up"):
                self.run(node, "ip", *command.split())
            self.run(node, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")

    def run(self, node: str, *command: str, check: bool = True) -> str:
        done = subprocess.run(["ip", "netns", "exec", self.names[node], *command], capture_output=True, text=True, check=False, cwd=ROOT)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, node: str, backend: str, *nodes: str) -> list[str]:
        return self.run(node, sys.executable, "-m", "tests.integration.proxy.network_node", backend, node, *nodes).splitlines()

    def ping(self, source: str = "10.244.0.1", target: str = "10.244.1.1") -> bool:
        """From a's pod network to b's."""
        return " 0% packet loss" in self.run("a", "busybox", "ping", "-c1", "-W1", "-I", source, target, check=False)

    def destroy(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    found = Pair()
    try:
        found.create()
        yield found
    finally:
        found.destroy()


def test_pods_reach_each_other_through_whichever_backend(pair: Pair) -> None:
    for backend in ("host-gw", "vxlan", "host-gw"):
        assert all(pair.apply(node, backend, *NODES) for node in "ab")
        assert pair.ping(), backend
        link = pair.run("a", "ip", "link", "show")
        assert ("kubepy.vxlan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450" in link) == (backend == "vxlan")
        assert [pair.apply(node, backend, *NODES) for node in "ab"] == [[], []], "a second pass changes something"


@pytest.mark.parametrize("backend", ["host-gw", "vxlan"])
@pytest.mark.parametrize(("a", "b"), [
    pytest.param("192.0.2.1+2001:db8::1", "192.0.2.2+2001:db8::2", id="IPv4 first"),
    pytest.param("2001:db8::1+192.0.2.1", "2001:db8::2+192.0.2.2", id="IPv6 first")])
def test_both_families_at_once(pair: Pair, backend: str, a: str, b: str) -> None:
    nodes = f"a,{a},10.244.0.0/24+fd00:244::/64", f"b,{b},fd00:244:0:1::/64+10.244.1.0/24"
    for node in "ab":
        pair.apply(node, backend, *nodes)
    assert pair.ping()
    assert pair.ping("fd00:244::1", "fd00:244:0:1::1")
    assert [pair.apply(node, backend, *nodes) for node in "ab"] == [[], []], "a second pass changes something"
    assert "- route fd00:244:0:1::/64" in pair.apply("a", backend, nodes[0])


@pytest.mark.parametrize("backend", ["host-gw", "vxlan"])
def test_a_node_that_leaves_is_forgotten_and_known_again(pair: Pair, backend: str) -> None:
    for node in "ab":
        pair.apply(node, backend, *NODES)
    gone = pair.apply("a", backend, NODES[0])
    assert "- route 10.244.1.0/24" in gone
    assert not pair.ping()
    pair.apply("a", backend, *NODES)
    assert pair.ping()


def test_what_somebody_takes_away_comes_back_and_what_is_not_ours_stays(pair: Pair) -> None:
    pair.apply("a", "host-gw", *NODES)
    pair.run("a", "ip", "route", "add", "10.99.0.0/24", "via", "192.0.2.2")
    pair.run("a", "ip", "route", "del", "10.244.1.0/24")
    pair.run("a", "iptables", "-t", "nat", "-F", "POSTROUTING")
    assert pair.apply("a", "host-gw", *NODES) == ["+ rules", "+ route 10.244.1.0/24 via 192.0.2.2"]
    pair.run("a", sys.executable, "-m", "tests.integration.proxy.network_node", "cleanup", "a")
    left = pair.run("a", "ip", "route")
    assert "10.99.0.0/24" in left
    assert "10.244.1.0/24" not in left
    assert "KUBEPY" not in pair.run("a", "iptables-save")
