"""Which DNS records a Service and its EndpointSlices have: a pure function, after the Kubernetes DNS specification 1.1.0."""
from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.dns import wire


@dataclass(frozen=True, slots=True)
class Record:
    """`target` is the name that `rdata` points to (SRV, CNAME), so that its addresses can be added to the answer."""

    type: int
    rdata: bytes
    target: bytes = b""


Records = dict[bytes, list[Record]]
"""By wire name."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    address: str
    name: str
    """Its name below the Service: its hostname, or its address with dashes."""
    ports: tuple[tuple[str, str, int], ...]


def service_records(service: Object, slices: Iterable[Object], domain: str) -> Records:
    """Every record of one Service, forward and reverse."""
    metadata, spec = service["metadata"], service.get("spec") or {}
    name = f"{metadata['name']}.{metadata['namespace']}.svc.{domain}"
    found: Records = {}
    if spec.get("type") == "ExternalName":
        if spec.get("externalName"):
            target = wire.encode_name(spec["externalName"])
            _add(found, name, Record(wire.CNAME, target, target))
        return found
    addresses = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
    if not addresses or addresses[0] == "None":
        _headless(found, name, list(_ready(slices)))
        return found
    for address in addresses:
        _add(found, name, _address(address))
        _add(found, reverse_name(address), Record(wire.PTR, wire.encode_name(name)))
    for port in spec.get("ports") or ():
        _srv(found, name, port.get("name") or "", port.get("protocol") or "TCP", int(port["port"]), name)
    _weigh(found)
    return found


def _headless(found: Records, name: str, endpoints: Sequence[_Endpoint]) -> None:
    """A name per endpoint; the Service's own name has all their addresses. Without ready endpoints there are no names at all."""
    for endpoint in endpoints:
        own = f"{endpoint.name}.{name}"
        _add(found, name, _address(endpoint.address))
        _add(found, own, _address(endpoint.address))
        _add(found, reverse_name(endpoint.address), Record(wire.PTR, wire.encode_name(own)))
        for port_name, protocol, number in endpoint.ports:
            _srv(found, name, port_name, protocol, number, own)
    _weigh(found)


def _ready(slices: Iterable[Object]) -> Iterable[_Endpoint]:
    """Ready endpoints (a Service with publishNotReadyAddresses has all of its endpoints marked ready)."""
    for piece in slices:
        if piece.get("addressType") not in ("IPv4", "IPv6"):
            continue
        ports = tuple((port.get("name") or "", port.get("protocol") or "TCP", int(port["port"]))
                      for port in piece.get("ports") or () if port.get("port"))
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in (endpoint.get("addresses") or ())[:1]:
                yield _Endpoint(address, endpoint.get("hostname") or dashed(address), ports)


def dashed(address: str) -> str:
    """`10.1.2.3` as `10-1-2-3`; IPv6 likewise with its colons."""
    return address.replace(".", "-") if "." in address else address.replace(":", "-")


def hosts_records(text: str) -> Records:
    """The records of a file like /etc/hosts, forward and reverse (to each line's first name); lines without an address are left out."""
    found: Records = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            record = _address(address)
        except ValueError:
            continue
        for name in names:
            _add(found, name, record)
        if names:
            _add(found, reverse_name(address), Record(wire.PTR, wire.encode_name(names[0])))
    return found


def undashed(label: str) -> str | None:
    """The address a pod record's label stands for, or None."""
    for text in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            continue
    return None


def reverse_name(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer


def _address(address: str) -> Record:
    parsed = ipaddress.ip_address(address)
    return Record(wire.A if parsed.version == 4 else wire.AAAA, parsed.packed)


def address_record(address: str) -> Record:
    return _address(address)


def _srv(found: Records, service: str, port: str, protocol: str, number: int, target: str) -> None:
    """Under `_port._protocol.service` where the port has a name, and under the Service's name itself, as CoreDNS answers."""
    encoded = wire.encode_name(target)
    srv = Record(wire.SRV, struct.pack("!HHH", 0, 0, number) + encoded, encoded)
    _add(found, service, srv)
    if port:
        _add(found, f"_{port}._{protocol}.{service}", srv)


def _weigh(found: Records) -> None:
    """The weights of each name's SRV records share 100 between them."""
    for name, records in found.items():
        count = sum(record.type == wire.SRV for record in records)
        if count:
            weight = struct.pack("!H", max(1, 100 // count))
            found[name] = [Record(r.type, r.rdata[:2] + weight + r.rdata[4:], r.target) if r.type == wire.SRV else r for r in records]


def _add(found: Records, name: str, record: Record) -> None:
    records = found.setdefault(wire.encode_name(name), [])
    if record not in records:
        records.append(record)
