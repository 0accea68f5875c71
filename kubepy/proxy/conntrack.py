"""Connection tracking entries that would keep UDP traffic going to where it no longer should.

TCP notices by itself; a UDP "connection" lives as long as packets come, also towards an endpoint that is gone, or towards an address
that had no endpoint when the first packet came. `fronts` (pure) says to where a service's addresses may lead, `clear` reads the
kernel's table once and deletes the entries that lead elsewhere. What leads to an endpoint that still serves is left alone, so a proxy
that starts again disturbs nothing.

Known difference: upstream leaves the entries of a service that has no endpoint any more; here they go too, so that clients are refused.
"""
from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.proxy import metric
from kubepy.proxy.model import Endpoint, Family, ServicePort
from kubepy.proxy.netlink import NETFILTER, Attributes, Netlink, attribute, attributes, nested

log = get_logger("conntrack")

_GET, _DELETE = 0x101, 0x102
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_IP, _PROTOCOL = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_BY_PROTOCOL = 8
"""Of a filter: compare the protocol. (A kernel that has no filters shows all entries.)"""
_FAMILIES: dict[Family, tuple[int, int, int]] = {"IPv4": (socket.AF_INET, 1, 2), "IPv6": (socket.AF_INET6, 3, 4)}
"""Number, and the attributes of source and destination."""
_UDP = socket.IPPROTO_UDP


class Front(NamedTuple):
    """Where clients send to; "" is any address (a node port)."""

    ip: str
    port: int


class Target(NamedTuple):
    ip: str
    port: int


class Flow(NamedTuple):
    """An entry: where the client sent to, who answers, and the bytes that name it to the kernel."""

    front: Front
    target: Target
    name: bytes


Fronts = dict[Front, frozenset[Target]]
"""To where the entries of each may lead."""


def fronts(service: ServicePort, endpoints: Iterable[Endpoint]) -> Fronts:
    """Those of a UDP service port with these endpoints; of others none."""
    if service.protocol != "UDP":
        return {}
    targets = frozenset(Target(endpoint.ip, endpoint.port) for endpoint in endpoints if endpoint.serving)
    found = {Front(ip, service.port): targets for ip in (service.cluster_ip, *service.external_ips, *service.load_balancer_ips)}
    if service.node_port:
        found[Front("", service.node_port)] = targets
    return found


def stale(wanted: Mapping[Front, frozenset[Target]], flows: Iterable[Flow]) -> list[Flow]:
    """The flows to one of these fronts that lead elsewhere."""
    found = []
    for flow in flows:
        targets = wanted.get(flow.front)
        if targets is None:
            targets = wanted.get(Front("", flow.front.port))
        if targets is not None and flow.target not in targets:
            found.append(flow)
    return found


async def clear(family: Family, wanted: Fronts, clock: Clock) -> None:
    """Deletes what is stale; what cannot be deleted is logged, since rules matter more."""
    began = clock.monotonic()
    try:
        gone = await asyncio.to_thread(_clear, family, wanted)
    except OSError as error:
        log.warning("Cannot delete connection tracking entries; UDP clients may keep sending to endpoints that are gone", err=error)
        return
    metric.CONNTRACK_SECONDS.labels(family).observe(clock.monotonic() - began)
    metric.CONNTRACK_DELETED.labels(family).inc(gone)
    if gone:
        log.v(2).info("Deleted connection tracking entries", family=family, count=gone)


def _clear(family: Family, wanted: Fronts) -> int:
    af, *_ = _FAMILIES[family]
    with Netlink(NETFILTER) as netlink:
        gone = stale(wanted, _flows(netlink, family))
        refused = netlink.do(_DELETE, [_head(af) + flow.name for flow in gone], ignore=(errno.ENOENT,))
    if refused:
        raise OSError(refused[0][1], f"the kernel refused {len(refused)} of {len(gone)} deletions: {errno.errorcode.get(refused[0][1])}")
    return len(gone)


def _flows(netlink: Netlink, family: Family) -> list[Flow]:
    """Those of UDP."""
    af, source, destination = _FAMILIES[family]
    only = nested(_ORIGINAL, nested(_PROTOCOL, attribute(_NUMBER, bytes([_UDP])))) + nested(
        _FILTER, attribute(1, struct.pack("=I", _BY_PROTOCOL)))
    found = []
    for _, one in netlink.dump(_GET, _head(af) + only, 4):
        original, reply = attributes(one[_ORIGINAL]), attributes(one[_REPLY])
        there, back = attributes(original[_PROTOCOL]), attributes(reply[_PROTOCOL])
        if there[_NUMBER] != bytes([_UDP]):
            continue
        name = nested(_ORIGINAL, one[_ORIGINAL]) + b"".join(attribute(kind, one[kind]) for kind in (_ID, _ZONE) if kind in one)
        found.append(Flow(Front(_address(af, original, destination), _port(there, _DESTINATION_PORT)),
                          Target(_address(af, reply, source), _port(back, _SOURCE_PORT)), name))
    return found


def _head(af: int) -> bytes:
    return struct.pack("=BBH", af, 0, 0)


def _address(af: int, values: Attributes, kind: int) -> str:
    return socket.inet_ntop(af, attributes(values[_IP])[kind])


def _port(values: Attributes, kind: int) -> int:
    return int.from_bytes(values[kind], "big")
