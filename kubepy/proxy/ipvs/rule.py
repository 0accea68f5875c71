"""The iptables rules beside IPVS: which packets are masqueraded, refused or accepted, by ipset. They never change. Pure.

IPVS only balances. Its virtual servers' addresses are on a local device, so packets to them come through INPUT: what is no service's
port there must be refused, lest a process of the node answers on a service's address.
"""
from __future__ import annotations

from kubepy.proxy.iptables import chain
from kubepy.proxy.iptables.rule import Chains, Rules
from kubepy.proxy.iptables.table import Jump
from kubepy.proxy.ipvs import ipset
from kubepy.proxy.model import Family

JUMPS = (
    Jump("nat", "OUTPUT", chain.SERVICES, "kubernetes service portals"),
    Jump("nat", "PREROUTING", chain.SERVICES, "kubernetes service portals"),
    Jump("nat", "POSTROUTING", chain.POSTROUTING, "kubernetes postrouting rules"),
    Jump("filter", "FORWARD", chain.FORWARD, "kubernetes forwarding rules"),
    Jump("filter", "INPUT", chain.NODE_PORT, "kubernetes health check rules"),
    Jump("filter", "INPUT", chain.FIREWALL, "kube-proxy firewall rules"),
    Jump("filter", "FORWARD", chain.FIREWALL, "kube-proxy firewall rules"),
    Jump("filter", "INPUT", chain.IPVS_FILTER, "kubernetes ipvs access filter"),
    Jump("filter", "OUTPUT", chain.IPVS_OUT_FILTER, "kubernetes ipvs access filter"),
)


def rules(family: Family, *, local: str, remote: str, masquerade_all: bool, mark: int) -> Rules:
    """`local` and `remote` are the iptables arguments that match what this cluster's pods send, and what they do not."""

    def match(one: str, how: str) -> str:
        return f"-m set --match-set {ipset.name(one, family)} {how}"

    marked = f"{mark:#x}/{mark:#x}"
    masquerade = '-m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" '
    if masquerade_all:
        cluster = [f"{masquerade}{match(ipset.CLUSTER_IP, 'dst,dst')} -j {chain.MARK_MASQ}"]
    elif remote:
        cluster = [f"{remote} {masquerade}{match(ipset.CLUSTER_IP, 'dst,dst')} -j {chain.MARK_MASQ}"]
    else:  # what comes from a service's own address was sent by this node
        cluster = [f"{masquerade}{match(ipset.CLUSTER_IP, 'src,dst')} -j {chain.MARK_MASQ}"]
    loopback = "127.0.0.0/8" if family == "IPv4" else "::1/128"
    external = '-m comment --comment "Kubernetes service external ip + port for masquerade and filter purpose"'
    ports: list[str] = []
    for protocol in ("TCP", "UDP", "SCTP"):
        how = "dst,dst" if protocol == "SCTP" else "dst"
        ports += [f"-p {protocol.lower()} {match(ipset.NODE_PORT_LOCAL[protocol], how)} -j RETURN",
                  f"-p {protocol.lower()} {match(ipset.NODE_PORT[protocol], how)} -j {chain.MARK_MASQ}"]
    nat: Chains = {
        chain.SERVICES: [
            f"-s {loopback} -j RETURN",
            f'-m comment --comment "Kubernetes service lb portal" {match(ipset.BALANCER, "dst,dst")} -j {chain.BALANCER}',
            *cluster,
            f"{external} {match(ipset.EXTERNAL_IP, 'dst,dst')} -j {chain.MARK_MASQ}",
            f"-m addrtype --dst-type LOCAL -j {chain.NODE_PORT}",
            *(f"{match(one, 'dst,dst')} -j ACCEPT" for one in (
                ipset.CLUSTER_IP, ipset.EXTERNAL_IP, ipset.EXTERNAL_IP_LOCAL, ipset.BALANCER))],
        chain.POSTROUTING: [
            '-m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose" '
            f"{match(ipset.LOOP_BACK, 'dst,dst,src')} -j MASQUERADE",
            f"-m mark ! --mark {marked} -j RETURN",
            f"-j MARK --xor-mark {mark:#x}",
            '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully'],
        chain.NODE_PORT: ports,
        chain.BALANCER: [f"{match(ipset.BALANCER_LOCAL, 'dst,dst')} -j RETURN", f"-j {chain.MARK_MASQ}"],
        chain.MARK_MASQ: [f"-j MARK --or-mark {mark:#x}"],
    }
    known = [f"{match(one, 'dst,dst')} -j RETURN" for one in (
        ipset.BALANCER, ipset.CLUSTER_IP, ipset.EXTERNAL_IP, ipset.EXTERNAL_IP_LOCAL)]
    refuse = f"-m conntrack --ctstate NEW {match(ipset.IPVS_IPS, 'dst')} -j REJECT"
    table: Chains = {
        chain.FORWARD: [
            f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {marked} -j ACCEPT',
            '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'],
        chain.NODE_PORT: [f'-m comment --comment "Kubernetes health check node port" {match(ipset.HEALTH_CHECK, "dst")} -j ACCEPT'],
        chain.FIREWALL: ['-m comment --comment "Kubernetes service load balancer ip + port for load balancer with sourceRange" '
                         f"{match(ipset.BALANCER_FIREWALL, 'dst,dst')} -j {chain.SOURCE_RANGES}"],
        chain.SOURCE_RANGES: [f"{match(ipset.BALANCER_SOURCE_CIDR, 'dst,dst,src')} -j RETURN",
                              f"{match(ipset.BALANCER_SOURCE_IP, 'dst,dst,src')} -j RETURN", "-j DROP"],
        chain.IPVS_FILTER: [*known, f"{match(ipset.HEALTH_CHECK, 'dst')} -j RETURN", refuse],
        chain.IPVS_OUT_FILTER: [*known, refuse],
    }
    return Rules(table, nat)
