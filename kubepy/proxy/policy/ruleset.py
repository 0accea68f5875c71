"""The values that policies become: named sets of addresses and chains of rules in nft's words."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["ingress", "egress"]
DIRECTIONS: tuple[Direction, Direction] = ("egress", "ingress")

Lines = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """A set or map. `kind` is its declaration; a map's elements are written `key : value`."""

    kind: str
    elements: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything the table holds, in the order it has to be written: a chain comes after those it jumps to."""

    collections: dict[str, Collection] = field(default_factory=dict)
    chains: dict[str, Lines] = field(default_factory=dict)
