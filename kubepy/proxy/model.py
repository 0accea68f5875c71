"""Service ports and their endpoints, as every backend needs them: a pure function of Services, EndpointSlices and the node.

Follows upstream's proxy: headless and ExternalName Services are left alone; duplicate endpoints in several slices count once, the one
that is ready wins; endpoints without a ready condition are ready.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kubepy.api.types import Object

Family = Literal["IPv4", "IPv6"]
FAMILIES: tuple[Family, ...] = ("IPv4", "IPv6")
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
DEFAULT_AFFINITY_SECONDS = 10800


class PortName(NamedTuple):
    """One port of a Service: `namespace/name:port` (or without the port's name, where it has none). A tuple: every table of the proxy is
    by it, and a dataclass would be hashed and compared in Python."""

    namespace: str
    name: str
    port: str = ""
    protocol: str = "TCP"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port}" if self.port else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class LocalTraffic:
    """How what this cluster's pods send is told from the rest: by their range, the bridge they are on, or the beginning of their
    interfaces' names. All empty: it is not."""

    cidr: str = ""
    bridge: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A Service's port with its addresses of one family. `affinity_seconds` 0: no session affinity."""

    cluster_ip: str
    port: int
    protocol: str = "TCP"
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    external_local: bool = False
    internal_local: bool = False
    health_check_port: int = 0

    @property
    def external(self) -> bool:
        """Whether it can be reached from outside at all."""
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def uses_cluster(self) -> bool:
        return not self.internal_local or self.external

    @property
    def uses_local(self) -> bool:
        return self.internal_local or (self.external_local and self.external)


_NONE: frozenset[str] = frozenset()


class Endpoint(NamedTuple):
    """An endpoint of one service port. `placed` says whether its node is known, `local` whether it is ours. `zones` and `nodes` are the
    topology hints, empty where there are none."""

    ip: str
    port: int
    local: bool = False
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    placed: bool = True
    zones: frozenset[str] = _NONE
    nodes: frozenset[str] = _NONE

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """The node this proxy serves: `zone` is its topology label, `addresses` what NodePorts answer on (empty: every local address),
    `ip` its own address of the family."""

    name: str = ""
    zone: str = ""
    addresses: tuple[str, ...] = ()
    ip: str = ""


@dataclass(slots=True)
class State:
    """Everything a backend makes rules of, for one address family."""

    family: Family = "IPv4"
    node: NodeInfo = field(default_factory=NodeInfo)
    services: dict[PortName, ServicePort] = field(default_factory=dict)
    endpoints: dict[PortName, tuple[Endpoint, ...]] = field(default_factory=dict)


def service_ports(service: Object, family: Family) -> dict[PortName, ServicePort]:
    """The ports of one Service that have a cluster IP of the family."""
    metadata, spec, status = service["metadata"], service.get("spec") or {}, service.get("status") or {}
    if spec.get("type") == "ExternalName" or PROXY_NAME_LABEL in (metadata.get("labels") or {}):
        return {}
    cluster_ip = next((ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP") or ""] if of_family(ip, family)), "")
    if not cluster_ip:
        return {}
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS
    balancers = tuple(entry["ip"] for entry in (status.get("loadBalancer") or {}).get("ingress") or ()
                      if of_family(entry.get("ip") or "", family) and entry.get("ipMode", "VIP") == "VIP")
    external_local = spec.get("externalTrafficPolicy") == "Local" and spec.get("type") in ("NodePort", "LoadBalancer")
    external_local = external_local or (spec.get("externalTrafficPolicy") == "Local" and bool(spec.get("externalIPs")))
    found: dict[PortName, ServicePort] = {}
    for port in spec.get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        name = PortName(metadata["namespace"], metadata["name"], port.get("name") or "", protocol)
        found[name] = ServicePort(
            cluster_ip=cluster_ip, port=int(port["port"]), protocol=protocol, node_port=int(port.get("nodePort") or 0),
            external_ips=tuple(ip for ip in spec.get("externalIPs") or () if of_family(ip, family)),
            load_balancer_ips=balancers if spec.get("type") == "LoadBalancer" else (),
            source_ranges=tuple(_range(text) for text in spec.get("loadBalancerSourceRanges") or () if _range_of(text, family)),
            affinity_seconds=int(affinity), external_local=external_local,
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            health_check_port=int(spec.get("healthCheckNodePort") or 0) if external_local else 0,
        )
    return found


def slice_endpoints(pieces: Iterable[Object], family: Family, node: str) -> dict[tuple[str, str], dict[str, Endpoint]]:
    """The endpoints of one Service's slices: (port name, protocol) -> `ip:port` -> endpoint."""
    found: dict[tuple[str, str], dict[str, Endpoint]] = {}
    for piece in pieces:
        if piece.get("addressType") != family:
            continue
        for port in piece.get("ports") or ():
            if not port.get("port"):
                continue
            group = found.setdefault((port.get("name") or "", port.get("protocol") or "TCP"), {})
            for entry in piece.get("endpoints") or ():
                made = _endpoint(entry, int(port["port"]), node)
                if made is None:
                    continue
                where = str(made)
                old = group.get(where)
                if old is None or (not old.ready and (made.ready or (made.serving and not old.serving))):
                    group[where] = made
    return found


def _endpoint(entry: Object, port: int, node: str) -> Endpoint | None:
    addresses = entry.get("addresses") or ()
    if not addresses:
        return None
    conditions, hints = entry.get("conditions") or {}, entry.get("hints") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    return Endpoint(
        ip=addresses[0], port=port, local=bool(node) and entry.get("nodeName") == node, ready=ready,
        serving=ready if serving is None else bool(serving), terminating=bool(conditions.get("terminating")),
        placed=bool(entry.get("nodeName")),
        zones=frozenset(zone["name"] for zone in hints.get("forZones") or ()) if hints else _NONE,
        nodes=frozenset(hint["name"] for hint in hints.get("forNodes") or ()) if hints else _NONE,
    )


def build(services: Iterable[Object], slices: Mapping[str, Iterable[Object]], node: NodeInfo, family: Family) -> State:
    """The whole state; `slices` by `namespace/name` of their Service."""
    state = State(family, node)
    for service in services:
        ports = service_ports(service, family)
        if not ports:
            continue
        metadata = service["metadata"]
        groups = slice_endpoints(slices.get(f"{metadata['namespace']}/{metadata['name']}", ()), family, node.name)
        for name, port in ports.items():
            state.services[name] = port
            found = groups.get((name.port, name.protocol))
            if found:
                state.endpoints[name] = tuple(found[where] for where in sorted(found))
    return state


def of_family(address: str, family: Family) -> bool:
    return bool(address) and address != "None" and (":" in address) == (family == "IPv6")


def _range_of(text: str, family: Family) -> bool:
    try:
        return ipaddress.ip_network(text.strip(), strict=False).version == (6 if family == "IPv6" else 4)
    except ValueError:
        return False


def _range(text: str) -> str:
    return text.strip()


def node_port_addresses(patterns: Iterable[str], local: Iterable[str], family: Family, own: str = "") -> tuple[str, ...]:
    """`--nodeport-addresses`: the local addresses inside the given ranges, `own` for "primary"; empty when a range covers everything (or
    none is given)."""
    given = list(patterns)
    chosen: list[str] = [own] if "primary" in given and own else []
    networks = [ipaddress.ip_network(text, strict=False) for text in given if text != "primary"]
    networks = [network for network in networks if network.version == (6 if family == "IPv6" else 4)]
    if any(network.prefixlen == 0 for network in networks) or not (networks or chosen):
        return ()
    for address in local:
        if of_family(address, family) and any(ipaddress.ip_address(address) in network for network in networks):
            chosen.append(address)
    return tuple(sorted(set(chosen)))
