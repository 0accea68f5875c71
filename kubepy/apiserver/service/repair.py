"""Keeps reservations and Services in agreement: a Service whose address or port is not reserved gets it reserved again, a
reservation without a Service is given back.

Source: `pkg/registry/core/service/{ipallocator,portallocator}/controller`. What looks leaked is given back only when it has looked so
in three rounds, because a Service that is just being created reserves before it is stored. Every API server runs the loop; its
steps are conditional, so that two doing the same harm nothing.
"""
from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubepy.api.errors import AlreadyExists, ApiError
from kubepy.api.resource import SERVICES
from kubepy.api.types import Object
from kubepy.apiserver.server import Server
from kubepy.apiserver.service.allocator import IP_ADDRESSES, Addresses, NodePorts
from kubepy.apiserver.service.reserve import addresses_of, node_ports_of
from kubepy.base.log import get_logger

log = get_logger("service-repair")

ROUNDS = 3
"""How often a reservation must have looked leaked before it is given back."""
INTERVAL = 180.0
"""Seconds between rounds."""
MANAGED_BY = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io")

Owner = tuple[str, str]
"""A Service's namespace and name."""


@dataclass(slots=True)
class Plan:
    """What has to be done, and what is only suspected (reservation → rounds it has been)."""

    reserve_addresses: list[tuple[str, Owner]] = field(default_factory=list)
    reserve_ports: list[tuple[int, Owner]] = field(default_factory=list)
    release_addresses: list[str] = field(default_factory=list)
    release_ports: list[int] = field(default_factory=list)
    suspected: dict[str | int, int] = field(default_factory=dict)


def plan(services: Iterable[Object], addresses: Mapping[str, Owner], ports: Mapping[int, Owner],
         suspected: Mapping[str | int, int]) -> Plan:
    """`addresses` and `ports` are the reservations with the owners they name, `suspected` comes from the round before."""
    result = Plan()
    used: dict[str | int, Owner] = {}
    for service in services:
        owner = (service["metadata"].get("namespace", ""), service["metadata"]["name"])
        for address in sorted(addresses_of(service)):
            used[address] = owner
            if address not in addresses:
                result.reserve_addresses.append((address, owner))
        for port in sorted(node_ports_of(service)):
            used[port] = owner
            if port not in ports:
                result.reserve_ports.append((port, owner))
    reserved: list[tuple[str | int, Owner]] = [*addresses.items(), *ports.items()]
    for taken, owner in reserved:
        if used.get(taken) == owner:
            continue
        rounds = suspected.get(taken, 0) + 1
        if rounds < ROUNDS:
            result.suspected[taken] = rounds
        elif isinstance(taken, int):
            result.release_ports.append(taken)
        else:
            result.release_addresses.append(taken)
    return result


class Repair:
    """The loop of one API server."""

    def __init__(self, server: Server, ranges: list[Addresses], ports: NodePorts) -> None:
        self._server = server
        self._ranges, self._ports = ranges, ports
        self._suspected: dict[str | int, int] = {}

    async def run(self) -> None:
        while True:
            await self._server.clock.sleep(INTERVAL)
            await self.once()

    async def once(self) -> None:
        """One round, on quorum reads: reservations first, so that whatever they belong to is in the Services read after them."""
        stores = self._server.services
        reserved = await stores.store(IP_ADDRESSES).list(None)
        ports = await self._ports.store.list(None)
        services = [entry.decode() for entry in (await stores.store(SERVICES).list(None)).entries]
        key, ours = MANAGED_BY
        addresses = {str(ipaddress.ip_address(entry.name)): _parent(entry.decode()) for entry in reserved.entries
                     if entry.labels.get(key) == ours}
        todo = plan(services, addresses, {int(entry.name): _owner(entry.decode()) for entry in ports.entries}, self._suspected)
        self._suspected = todo.suspected
        await self._act(todo)

    async def _act(self, todo: Plan) -> None:
        for address, owner in todo.reserve_addresses:
            pool = next((item for item in self._ranges if ipaddress.ip_address(address) in item.network), None)
            if pool is None:
                log.warning("A service has a cluster IP outside the service ranges", service="/".join(owner), address=address)
                continue
            log.warning("Cluster IP is not allocated; repairing", service="/".join(owner), address=address)
            with contextlib.suppress(AlreadyExists):
                await pool.reserve(address, {"namespace": owner[0], "name": owner[1]})
        for port, owner in todo.reserve_ports:
            log.warning("Port is not allocated; repairing", service="/".join(owner), port=port)
            with contextlib.suppress(AlreadyExists):
                await self._ports.reserve(port, {"namespace": owner[0], "name": owner[1]})
        for address in todo.release_addresses:
            log.info("Giving back a cluster IP that no service has", address=address)
            pool = next((item for item in self._ranges if ipaddress.ip_address(address) in item.network), self._ranges[0])
            with contextlib.suppress(ApiError):
                await pool.release(address)
        for port in todo.release_ports:
            log.info("Giving back a node port that no service has", port=port)
            await self._ports.release(port)


def _parent(obj: Object) -> Owner:
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    return parent.get("namespace", ""), parent.get("name", "")


def _owner(obj: Object) -> Owner:
    spec = obj.get("spec") or {}
    return spec.get("namespace", ""), spec.get("name", "")
