"""Cluster IPs and node ports, reserved so that several servers never give one out twice.

A cluster IP is reserved by creating the IPAddress object of its name, a node port by creating a key of its own; etcd's
conditional creation decides between rivals. As upstream, the lower part of each range is kept for explicit requests and taken at
random only when the upper part is full.
"""
from __future__ import annotations

import contextlib
import ipaddress
import random
from collections.abc import Sequence
from typing import Protocol

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.networking.ipaddress import KIND as IP_ADDRESS
from kubepy.apiserver.service.family import IPV4, IPV6
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.apiserver.verbs.lifecycle import fill_system_fields
from kubepy.apiserver.verbs.manage import field_manager
from kubepy.apiserver.zero import zero
from kubepy.base.clock import Clock, format_time

IP_ADDRESSES = Resource("networking.k8s.io", "v1", "ipaddresses", "IPAddress", False)
NODE_PORTS = Resource("", "v1", "servicenodeports", "ServiceNodePort", False)
"""Not served: one key a node port, beneath the storage prefix."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ATTEMPTS = 64
MANAGER = "kube-apiserver"
"""Who owns what the server writes itself."""


class Refused(Exception):
    """What cannot be allocated, in Kubernetes' words."""


class Allocator(Protocol):
    async def take(self, wanted: str, owner: Object) -> None: ...

    async def pick(self, owner: Object, *, keep: bool) -> str: ...

    async def release(self, taken: str) -> None: ...


class Addresses:
    """The cluster IPs of one range."""

    def __init__(self, network: Network, store: ResourceStore, clock: Clock) -> None:
        self.network, self._store, self._clock = network, store, clock
        self.family = IPV6 if network.version == 6 else IPV4
        self._first = int(network.network_address) + 1
        size = network.num_addresses
        self.size = min(size - 2 if self.family == IPV4 and size > 2 else size - 1, 1 << 16 if self.family == IPV6 else size)
        self._static = static_size(self.size, 16, 256, 16)

    def _check(self, address: str) -> None:
        position = int(ipaddress.ip_address(address)) - self._first
        if ipaddress.ip_address(address).version != self.network.version or not 0 <= position < max(self.size, 1):
            raise Refused(f"failed to allocate IP {address}: the provided network does not match the current range")

    async def take(self, wanted: str, owner: Object, *, keep: bool = True) -> None:
        """Reserves one address; raises Refused."""
        self._check(wanted)
        try:
            if keep:
                await self.reserve(wanted, owner)
            elif await _exists(self._store, wanted):
                raise Refused(f"failed to allocate IP {wanted}: provided IP is already allocated")
        except AlreadyExists as error:
            raise Refused(f"failed to allocate IP {wanted}: provided IP is already allocated") from error

    async def pick(self, owner: Object, *, keep: bool = True) -> str:
        """Reserves a free address and gives it; raises Refused when there is none."""
        for position in candidates(self.size, self._static):
            address = str(ipaddress.ip_address(self._first + position))
            if self._store.cached("", address) is not None:
                continue
            try:
                if keep:
                    await self.reserve(address, owner)
            except AlreadyExists:
                continue
            return address
        raise Refused("range is full")

    async def reserve(self, address: str, owner: Object) -> None:
        """Writes the reservation; raises AlreadyExists."""
        obj: Object = {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {
            "name": address, "labels": {"ipaddress.kubernetes.io/ip-family": self.family,
                                        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
            "spec": {"parentRef": {"resource": "services", "namespace": owner["namespace"], "name": owner["name"]}}}
        fill_system_fields(obj, self._clock.now())
        field_manager(IP_ADDRESS, "").update(zero(IP_ADDRESS), obj, MANAGER, format_time(self._clock.now()))
        await self._store.create("", address, obj)

    async def release(self, address: str) -> None:
        await _delete(self._store, address)


class NodePorts:
    """The node ports of the cluster; one number serves all protocols of one service."""

    def __init__(self, ports: tuple[int, int], store: ResourceStore) -> None:
        self.low, self.high = ports
        self.store = store
        self.size = self.high - self.low + 1
        self._static = static_size(self.size, 16, 128, 32)

    async def take(self, wanted: int, owner: Object, *, keep: bool = True) -> None:
        if not self.low <= wanted <= self.high:
            raise Refused(f"provided port is not in the valid range. The range of valid ports is {self.low}-{self.high}")
        if keep:
            try:
                await self.reserve(wanted, owner)
            except AlreadyExists as error:
                raise Refused("provided port is already allocated") from error
        elif await _exists(self.store, str(wanted)):
            raise Refused("provided port is already allocated")

    async def pick(self, owner: Object, *, keep: bool = True, avoid: Sequence[int] = ()) -> int:
        for position in candidates(self.size, self._static):
            port = self.low + position
            if port in avoid or self.store.cached("", str(port)) is not None:
                continue
            try:
                if keep:
                    await self.reserve(port, owner)
            except AlreadyExists:
                continue
            return port
        raise Refused("range is full")

    async def reserve(self, port: int, owner: Object) -> None:
        """Writes the reservation; raises AlreadyExists."""
        await self.store.create("", str(port), {
            "apiVersion": "v1", "kind": NODE_PORTS.kind, "metadata": {"name": str(port)},
            "spec": {"namespace": owner["namespace"], "name": owner["name"]}})

    async def release(self, port: int) -> None:
        await _delete(self.store, str(port))


async def _exists(store: ResourceStore, name: str) -> bool:
    try:
        await store.get("", name)
    except NotFound:
        return False
    return True


async def _delete(store: ResourceStore, name: str) -> None:
    with contextlib.suppress(NotFound):
        await store.delete("", name)


def static_size(size: int, minimum: int, maximum: int, divisor: int) -> int:
    """How many at the low end are kept for explicit requests (`calculateRangeOffset`); 0 for a small range."""
    if size <= minimum:
        return 0
    return min(max(size // divisor, minimum), maximum)


def candidates(size: int, static: int) -> list[int]:
    """Positions to try, in order: at random from the upper part, then each from a random start, then the lower part."""
    upper = size - static
    if upper <= 0:
        return list(range(size))
    tries = [static + random.randrange(upper) for _ in range(min(ATTEMPTS, upper))]
    start = random.randrange(upper)
    rest = range(upper)
    return tries + [static + (start + step) % upper for step in rest] + list(range(static)) if size <= 4096 else \
        tries + [static + (start + step) % upper for step in range(min(upper, 65536))] + list(range(static))
