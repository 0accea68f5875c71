"""What creating, changing and deleting a Service does to addresses and node ports.

`prepare` comes before validation, `reserve` after it; what was reserved is given back when the write fails (`undo`), what the
change no longer needs is given back when it succeeds (`commit`).
"""
from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from kubepy.api.errors import InternalError, Invalid
from kubepy.api.field import Path, invalid
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.service_validation import addresses
from kubepy.apiserver.service.allocator import Addresses, NodePorts, Refused
from kubepy.apiserver.service.family import (
    carry_over,
    drop_unneeded,
    family_of,
    has_address,
    needs_health_port,
    needs_node_ports,
    set_families,
)
from kubepy.base.log import get_logger

log = get_logger("service")
_SPEC = Path("spec")


@dataclass(slots=True)
class Reservation:
    on_failure: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    on_success: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def undo(self) -> None:
        await self._run(self.on_failure)

    async def commit(self) -> None:
        await self._run(self.on_success)

    @staticmethod
    async def _run(steps: list[Callable[[], Awaitable[None]]]) -> None:
        for step in steps:
            try:
                await step()
            except Exception as error:  # the repair loop gives back what stays
                log.error("Cannot give back a reservation", error)


class ServiceReserver:
    def __init__(self, ranges: list[Addresses], ports: NodePorts) -> None:
        self.ranges = ranges
        self._ranges = {item.family: item for item in ranges}
        self.families = [item.family for item in ranges]
        self.ports = ports

    def prepare(self, obj: Object, old: Object | None) -> None:
        """Carries over what an update left out, and settles the IP families. Raises Invalid."""
        spec = obj.setdefault("spec", {})
        if old is not None:
            drop_unneeded(obj, old)
            carry_over(obj, old)
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if addresses(spec):
            return  # validation refuses it
        set_families(obj, self.families, old)

    async def reserve(self, obj: Object, old: Object | None, *, keep: bool) -> Reservation:
        """Takes what the service needs and has not; `keep` is False in a dry run. Raises Invalid."""
        reservation = Reservation()
        owner: Object = {"namespace": obj["metadata"].get("namespace", ""), "name": obj["metadata"]["name"]}
        try:
            await self._addresses(obj, old, owner, reservation, keep)
            await self._node_ports(obj, old, owner, reservation, keep)
        except BaseException:
            await reservation.undo()
            raise
        return reservation

    async def _addresses(self, obj: Object, old: Object | None, owner: Object, reservation: Reservation, keep: bool) -> None:
        spec = obj["spec"]
        before = addresses_of(old)
        if has_address(spec):
            chosen = list(spec.get("clusterIPs") or [])
            for position, family in enumerate(spec.get("ipFamilies") or self.families[:1]):
                pool = self._ranges.get(family)
                if pool is None:
                    continue
                try:
                    if position < len(chosen) and chosen[position]:
                        if chosen[position] in before:
                            continue
                        await pool.take(chosen[position], owner, keep=keep)
                    else:
                        chosen.append(await pool.pick(owner, keep=keep))
                except Refused as error:
                    raise self._refuse(obj, _SPEC.child("clusterIPs"), chosen, error) from error
                if keep:
                    reservation.on_failure.append(_releasing(pool, chosen[position]))
            if chosen:
                spec["clusterIP"], spec["clusterIPs"] = chosen[0], chosen
        for address in before - addresses_of(obj):
            if keep and (pool := self._ranges.get(family_of(address))) is not None:
                reservation.on_success.append(_releasing(pool, address))

    async def _node_ports(self, obj: Object, old: Object | None, owner: Object, reservation: Reservation, keep: bool) -> None:
        spec = obj["spec"]
        before, mine = node_ports_of(old), set[int]()
        wanted = needs_node_ports(spec)
        for position, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort")
            if number:
                path = _SPEC.child("ports").index(position).child("nodePort")
                await self._take_port(obj, path, number, before, mine, owner, reservation, keep)
        for port in spec.get("ports") or ():
            if wanted and not port.get("nodePort"):
                port["nodePort"] = await self._pick_port(obj, before | mine, owner, reservation, keep)
                mine.add(port["nodePort"])
        if needs_health_port(spec):
            number = spec.get("healthCheckNodePort")
            if number:
                await self._take_port(obj, _SPEC.child("healthCheckNodePort"), number, before, mine, owner, reservation, keep)
            else:
                spec["healthCheckNodePort"] = await self._pick_port(obj, before | mine, owner, reservation, keep)
        for number in before - node_ports_of(obj):
            if keep:
                reservation.on_success.append(_releasing(self.ports, number))

    async def _take_port(self, obj: Object, path: Path, number: int, before: set[int], mine: set[int], owner: Object,
                         reservation: Reservation, keep: bool) -> None:
        if number in before or number in mine:
            return
        try:
            await self.ports.take(number, owner, keep=keep)
        except Refused as error:
            raise self._refuse(obj, path, number, error) from error
        mine.add(number)
        if keep:
            reservation.on_failure.append(_releasing(self.ports, number))

    async def _pick_port(self, obj: Object, avoid: set[int], owner: Object, reservation: Reservation, keep: bool) -> int:
        try:
            number = await self.ports.pick(owner, keep=keep, avoid=tuple(avoid))
        except Refused as error:
            raise InternalError.of(f"failed to allocate a nodePort: {error}") from error
        if keep:
            reservation.on_failure.append(_releasing(self.ports, number))
        return number

    @staticmethod
    def _refuse(obj: Object, path: Path, value: object, error: Refused) -> Invalid:
        if str(error) == "range is full":
            raise InternalError.of(f"failed to allocate a serviceIP: {error}") from error
        return Invalid.of("", "Service", obj["metadata"]["name"], [invalid(path, value, str(error))])

    async def deleted(self, obj: Object) -> None:
        """Gives back everything of a service that is gone."""
        for address in addresses_of(obj):
            if (pool := self._ranges.get(family_of(address))) is not None:
                await pool.release(address)
        for number in node_ports_of(obj):
            await self.ports.release(number)


def addresses_of(obj: Object | None) -> set[str]:
    """The real cluster IPs of a service."""
    spec = (obj or {}).get("spec") or {}
    if not spec or not has_address(spec):
        return set()
    return {str(ipaddress.ip_address(address)) for address in spec.get("clusterIPs") or [spec.get("clusterIP")]
            if address and address != "None"}


def node_ports_of(obj: Object | None) -> set[int]:
    spec = (obj or {}).get("spec") or {}
    found = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        found.add(spec["healthCheckNodePort"])
    return found


def _releasing(pool: Addresses | NodePorts, taken: str | int) -> Callable[[], Awaitable[None]]:
    async def release() -> None:
        await pool.release(taken)  # type: ignore[arg-type]
    return release
