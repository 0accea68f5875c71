"""What the kernel has of a table, asked through netlink: nft would read all of it, elements and rules, to show one chain (nearly three
seconds of CPU with 5,000 services). Every call blocks for a moment and may raise OSError."""
from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from kubepy.proxy.model import Family
from kubepy.proxy.netlink import NETFILTER, Attributes, Netlink, string, text

_SUBSYSTEM = 10
_GET_CHAIN, _GET_RULE, _GET_SET = 4, 7, 10
_TABLE, _RULE_CHAIN = 1, 2
_CHAIN_NAME, _SET_NAME, _SET_FLAGS = 3, 2, 3
_ANONYMOUS, _MAP = 1, 8
_FAMILIES = {"IPv4": 2, "IPv6": 10}


@dataclass(slots=True)
class Present:
    """Names of what the kernel's table has: chains, and collections (name -> "set" or "map")."""

    chains: set[str] = field(default_factory=set)
    collections: dict[str, str] = field(default_factory=dict)


def present(family: Family, table: str) -> Present:
    """Both empty where there is no such table."""
    found = Present()
    for one in _dump(family, _GET_CHAIN, table):
        found.chains.add(text(one[_CHAIN_NAME]))
    for one in _dump(family, _GET_SET, table):
        flags = int.from_bytes(one.get(_SET_FLAGS, b""), "big")
        if not flags & _ANONYMOUS:
            found.collections[text(one[_SET_NAME])] = "map" if flags & _MAP else "set"
    return found


def count_rules(family: Family, table: str, chain: str) -> int:
    """Rules in one chain; 0 where it is not there."""
    return sum(1 for one in _dump(family, _GET_RULE, table, string(_RULE_CHAIN, chain)) if text(one.get(_RULE_CHAIN, b"")) == chain)


def _dump(family: Family, kind: int, table: str, more: bytes = b"") -> Iterator[Attributes]:
    """The attributes of each object of the table."""
    body = struct.pack("=BBH", _FAMILIES[family], 0, 0) + string(_TABLE, table) + more
    with Netlink(NETFILTER) as netlink:
        try:
            for _, one in netlink.dump(_SUBSYSTEM << 8 | kind, body, 4):
                if text(one[_TABLE]) == table:
                    yield one
        except OSError as error:
            if error.errno != errno.ENOENT:  # no such table
                raise
