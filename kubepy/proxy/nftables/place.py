"""Where in the shared maps of endpoints each service's chain has its own.

A map for each service would be the obvious thing. But the kernel looks names of maps up in a list: 5,000 maps took it 2 s of 3. In one
map for all it would check every element against every rule that uses the map. So some services share one; each has a range of its keys.
Protocols have maps of their own, as nft wants to know of which protocol a port is.
"""
from __future__ import annotations

from dataclasses import dataclass

from kubepy.proxy.nftables import name

CHAINS = 64
"""That share a map."""
LEAST = 16
"""Keys that are kept for a chain, so that it need not move with every endpoint that comes."""


@dataclass(frozen=True, slots=True)
class Place:
    map: str
    protocol: str
    start: int
    size: int


class Places:
    """Keys that were given away are never given to another: there are four thousand million."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._used: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._with_room: dict[str, list[str]] = {}
        self.maps: dict[str, str] = {}
        """Every map there has ever been a place in, and its protocol (in small letters), in the order in which they came."""

    def find(self, chain: str, protocol: str, count: int) -> Place:
        """The chain's place; another one (of the same map) where it has grown out of it."""
        old = self._places.get(chain)
        if old is not None and count <= old.size:
            return old
        if old is not None:
            chosen = old.map
        else:
            with_room = self._with_room.setdefault(protocol, [])
            if not with_room:
                with_room.append(name.endpoints(protocol, len(self.maps)))
                self.maps[with_room[-1]] = protocol
            chosen = with_room[-1]
            self._used[chosen] = self._used.get(chosen, 0) + 1
            if self._used[chosen] == CHAINS:
                with_room.pop()
        start = self._next.get(chosen, 0)
        place = self._places[chain] = Place(chosen, protocol, start, max(LEAST, 1 << (count - 1).bit_length()))
        self._next[chosen] = start + place.size
        return place

    def free(self, chain: str) -> None:
        place = self._places.pop(chain, None)
        if place is not None:
            if self._used[place.map] == CHAINS:
                self._with_room[place.protocol].append(place.map)
            self._used[place.map] -= 1
