"""What the packet tests share: the node, and short words for services, endpoints and expectations."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubepy.proxy.model import LocalTraffic, NodeInfo, build

ADDRESSES = {
    "IPv4": {"cluster": "10.96.0.7", "node": "192.168.77.1", "loopback": "127.0.0.1", "external": "198.51.100.2",
             "balancer": "198.51.100.1", "client": "192.168.77.2", "bridge": "10.244.0.1", "other": "10.96.0.9", "pods": "10.244.0.0/16",
             "unused": "203.0.113.0/24", "pod": "10.244.0.{}"},
    "IPv6": {"cluster": "fd96::7", "node": "fd77::1", "loopback": "::1", "external": "2001:db8::2", "balancer": "2001:db8::1",
             "client": "fd77::2", "bridge": "fd44::1", "other": "fd96::9", "pods": "fd44::/64", "unused": "2001:db8:1::/64",
             "pod": "fd44::{}"},
}
NODE_PORT = 30080


def node(family: str, **more: Any) -> NodeInfo:
    return NodeInfo("me", ip=ADDRESSES[family]["node"], **more)


def service(family="IPv4", name="web", ip="", port=80, protocol="TCP", node_port=0, kind="ClusterIP", balancer=False, external=False,
            sources=(), **spec):
    """`sources` may name addresses of the family."""
    a = ADDRESSES[family]
    ip = ip or a["cluster"]
    if node_port and kind == "ClusterIP":
        kind = "NodePort"
    spec |= {"externalIPs": [a["external"]]} if external else {}
    spec |= {"loadBalancerSourceRanges": [f"{a[one]}/{128 if family == 'IPv6' else 32}" if one == "client" else a[one] for one in sources]
             } if sources else {}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {
        "type": "LoadBalancer" if balancer else kind, "clusterIP": ip, "clusterIPs": [ip], **spec,
        "ports": [{"name": "p", "port": port, "protocol": protocol, **({"nodePort": node_port} if node_port else {})}]},
        "status": {"loadBalancer": {"ingress": [{"ip": a["balancer"]}] if balancer else []}}}


def state(*services, family="IPv4", ends=("0", "1"), target=8080, protocol="TCP", about=None):
    """Endpoints by pod: `0` here and ready, `0@` on another node, `0-` terminating but serving, `0/zone` hinted for that zone,
    `0=node` for that node."""
    endpoints = []
    for text in ends:
        entry = {"addresses": [ADDRESSES[family]["pod"].format(int(text[0]) + 2)], "nodeName": "other" if "@" in text else "me",
                 "conditions": {"ready": "-" not in text, "serving": True, "terminating": "-" in text}}
        if "/" in text:
            entry["hints"] = {"forZones": [{"name": text.partition("/")[2]}]}
        if "=" in text:
            entry["hints"] = {"forNodes": [{"name": text.partition("=")[2]}]}
        endpoints.append(entry)
    piece = {"addressType": family, "ports": [{"name": "p", "port": target, "protocol": protocol}], "endpoints": endpoints}
    return build(services, {f"ns/{one['metadata']['name']}": [piece] for one in services}, about or node(family), family)


@dataclass(frozen=True)
class Probe:
    """A connection from `who` (client, node, podN) to an address. `pods` may answer (the digits), seeing the `source` (own, node or, "",
    whatever); or it is `refused` or gets no answer (`timeout`). `ipvs`: those who may answer there, where upstream's differ too."""

    who: str
    to: str = "cluster"
    port: int = 80
    pods: str = ""
    source: str = ""
    error: str = ""
    ipvs: str = ""


@dataclass(frozen=True)
class Case:
    name: str
    service: dict[str, Any] = field(default_factory=dict)
    ends: tuple[str, ...] = ("0", "1")
    probes: tuple[Probe, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the proxy."""


def answers(pods: str, who: str = "pod2", to: str = "cluster", port: int = 80, source: str = "", ipvs: str = "") -> Probe:
    return Probe(who, to, port, pods, source, ipvs=ipvs)


def fails(error: str, who: str = "pod2", to: str = "cluster", port: int = 80) -> Probe:
    return Probe(who, to, port, error=error)


def on_port(pods: str, who: str = "client", source: str = "", to: str = "node") -> Probe:
    return Probe(who, to, NODE_PORT, pods, source)


LOCAL_OUT = {"externalTrafficPolicy": "Local"}
LOCAL_IN = {"internalTrafficPolicy": "Local"}
CASES = (
    Case("a cluster IP balances, keeps pods' addresses and masquerades others'", {}, ("0", "1"), (
        answers("01", source="own"), answers("01", "client", source="node"), answers("01", "node"))),
    Case("a pod reaches itself", {}, ("0",), (answers("0", "pod0", source="node"),)),
    Case("no endpoints: refused at once", {"node_port": NODE_PORT, "external": True}, (), (
        fails("refused"), fails("refused", "node"), fails("refused", "client"), fails("refused", "client", "node", NODE_PORT),
        fails("refused", "client", "external"))),
    Case("a node port answers everybody, masqueraded", {"node_port": NODE_PORT}, ("0", "1@"), (
        on_port("01", source="node"), on_port("01", "pod2"), on_port("01", "node"))),
    Case("external policy Local keeps the client's address and stays here", {"node_port": NODE_PORT, **LOCAL_OUT}, ("0", "1@"), (
        on_port("0", source="own"), answers("01"))),
    Case("external policy Local with endpoints only elsewhere", {"node_port": NODE_PORT, **LOCAL_OUT}, ("0@", "1@"), (
        fails("lost", "client", "node", NODE_PORT), on_port("01", "node"), answers("01"))),
    Case("external policy Local serves from endpoints that terminate", {"node_port": NODE_PORT, **LOCAL_OUT}, ("0-", "1@"), (
        on_port("0", source="own"), answers("1"))),
    Case("internal policy Local", LOCAL_IN, ("0", "1@"), (answers("0"),)),
    Case("internal policy Local with endpoints only elsewhere", LOCAL_IN, ("0@", "1@"), (fails("dropped"),)),
    Case("endpoints that terminate serve while no other is ready", {}, ("0-", "1-"), (answers("01"),)),
    Case("endpoints that terminate rest while another is ready", {}, ("0-", "1"), (answers("1"),)),
    Case("an external IP", {"external": True}, ("0", "1"), (
        answers("01", "client", "external", source="node"), answers("01", "node", "external"))),
    Case("an external IP under policy Local", {"external": True, "kind": "NodePort", **LOCAL_OUT}, ("0", "1@"), (
        answers("0", "client", "external", source="own"),)),
    Case("a load balancer", {"balancer": True, "node_port": NODE_PORT}, ("0", "1"), (
        answers("01", "client", "balancer", source="node"), answers("01", "pod2", "balancer"))),
    Case("a load balancer for a source range that has the client", {"balancer": True, "sources": ("unused", "client")}, ("0", "1"), (
        answers("01", "client", "balancer"), fails("timeout", "pod2", "balancer"))),
    Case("a load balancer for a source range that has it not", {"balancer": True, "sources": ("unused",), "node_port": NODE_PORT}, ("0",), (
        fails("timeout", "client", "balancer"), answers("0"), on_port("0"))),
    Case("hints keep to the zone", {}, ("0/here", "1/there"), (answers("0"),), {"zone": "here"}),
    Case("hints keep to the node", {}, ("0=me", "1=other"), (answers("0"), answers("0", "client"))),
    Case("hints of other nodes alone count for nothing", {}, ("0=other", "1=other"), (answers("01"),)),
    Case("without a hint on every endpoint hints count for nothing", {}, ("0/here", "1"), (answers("01"),), {"zone": "here"}),
    Case("a load balancer under policy Local", {"balancer": True, "node_port": NODE_PORT, **LOCAL_OUT}, ("0", "1@"), (
        answers("0", "client", "balancer", source="own"), on_port("0", source="own"), answers("01", "pod2", "balancer", ipvs="0"))),
    Case("internal and external policy Local", {"node_port": NODE_PORT, **LOCAL_OUT, **LOCAL_IN}, ("0", "1@"), (
        answers("0"), on_port("0", source="own"))),
    Case("a pod reaches itself from outside", {"node_port": NODE_PORT}, ("0",), (on_port("0", "pod0", source="node"),)),
    Case("with everything masqueraded pods are, too", {}, ("0", "1"), (
        answers("01", source="node"), answers("01", "client", source="node")), settings={"masquerade_all": True}),
    Case("pods told by their bridge", {}, ("0", "1"), (
        answers("01", source="own"), answers("01", "client", source="node")), settings={"local": LocalTraffic(bridge="cni0")}),
    Case("pods told by the beginning of their interfaces' names", {"node_port": NODE_PORT, **LOCAL_OUT}, ("0", "1@"), (
        answers("01", source="own"), answers("01", "client", source="node"), on_port("0", source="own")),
        settings={"local": LocalTraffic(prefix="cni")}),
    Case("pods that cannot be told keep their address as all others do", {}, ("0", "1"), (
        answers("01", source="own"),), settings={"local": LocalTraffic()}),
    Case("hints of other zones alone count for nothing", {}, ("0/there", "1/there"), (answers("01"),), {"zone": "here"}),
)
