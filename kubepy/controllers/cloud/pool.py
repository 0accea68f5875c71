"""Load balancers of the built-in provider: a service gets an address of a pool, and every node's service proxy accepts traffic to it.

From the nodes and pods the address is reachable as it is; for others, route the pool to any node. Which addresses are taken is
read from the services themselves, so nothing has to be kept.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network, summarize_address_range
from itertools import islice

from kubepy.api.types import Object
from kubepy.controllers.cloud.provider import ProviderError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
MOST = 65536
"""Addresses of one range that are looked at."""


def parse_pool(ranges: Sequence[str]) -> list[Network]:
    """CIDRs, `first-last`, or single addresses; raises ValueError."""
    found: list[Network] = []
    for text in ranges:
        first, dash, last = text.partition("-")
        if dash:
            start, end = ip_address(first.strip()), ip_address(last.strip())
            if start.version != end.version:
                raise ValueError(f"{text} mixes address families")
            found += summarize_address_range(start, end)
        else:
            found.append(ip_network(text))
    return found


def taken(services: Sequence[Object], but: Object) -> set[Address]:
    return {ip_address(item["ip"]) for service in services if service["metadata"]["uid"] != but["metadata"]["uid"]
            for item in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or () if item.get("ip")}


def choose(service: Object, pool: Sequence[Network], used: set[Address]) -> list[Address]:
    """One address a family of the service: what it asks for, else what it has, else the first free one. Raises ProviderError."""
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    asked = service["spec"].get("loadBalancerIP")
    if asked:
        try:
            address = ip_address(asked)
        except ValueError as error:
            raise ProviderError(f"loadBalancerIP {asked!r} is no address") from error
        if not any(address in network for network in pool):
            raise ProviderError(f"loadBalancerIP {asked} is not in the pool")
        if address in used:
            raise ProviderError(f"loadBalancerIP {asked} is taken by another service")
        return [address]
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    has = [ip_address(item["ip"]) for item in ingress if item.get("ip")]
    found: list[Address] = []
    for family in families:
        version = 6 if family == "IPv6" else 4
        kept = [item for item in has if item.version == version and item not in used and any(item in network for network in pool)]
        free = (item for network in pool if network.version == version for item in _hosts(network) if item not in used)
        found += kept[:1] or list(islice(free, 1))
    if not found:
        raise ProviderError(f"the pool has no free {' or '.join(families)} address")
    return found


def _hosts(network: Network) -> Iterator[Address]:
    """The network's addresses that a host may have, up to a bound."""
    hosts: Iterator[Address] = iter(network.hosts())
    return islice(hosts, MOST)


class Pool:
    def __init__(self, pool: Sequence[Network]) -> None:
        self._pool = pool
        self._given: dict[str, list[Address]] = {}  # by UID: what may not be in the cache yet

    async def ensure(self, service: Object, nodes: Sequence[Object], services: Sequence[Object]) -> list[Object]:
        uid = service["metadata"]["uid"]
        alive = {item["metadata"]["uid"] for item in services}
        self._given = {owner: addresses for owner, addresses in self._given.items() if owner in alive}
        others = {address for owner, addresses in self._given.items() if owner != uid for address in addresses}
        found = self._given[uid] = choose(service, self._pool, taken(services, service) | others)
        return [{"ip": str(address), "ipMode": "VIP"} for address in found]

    async def delete(self, service: Object) -> None:
        self._given.pop(service["metadata"]["uid"], None)
