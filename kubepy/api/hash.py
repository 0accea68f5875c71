"""Short hashes that tell versions of a pod template apart (`pod-template-hash`, `controller-revision-hash`).

As upstream: 32 bits, written in an alphabet without vowels and look-alikes. Upstream takes FNV-1a of a dump of Go structures,
we CRC-32 of canonical JSON (byte by byte FNV takes Python as long as all else about a ReplicaSet): the values differ, nothing
may depend on them.
"""
from __future__ import annotations

import zlib
from typing import Any

import orjson

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def safe_encode(text: str) -> str:
    """Upstream's `rand.SafeEncodeString`: each character becomes one that cannot form a bad word."""
    return "".join(_ALPHABET[ord(character) % len(_ALPHABET)] for character in text)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and without what is empty, so that absent and empty fields are the same."""
    return orjson.dumps(prune(value), option=orjson.OPT_SORT_KEYS)


def compute(value: Any, collision_count: int | None = None) -> str:
    """The hash of a template; a collision count makes it another one."""
    data = canonical(value)
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    return safe_encode(str(zlib.crc32(data)))


def prune(value: Any) -> Any:
    """A copy without nulls, empty maps and empty lists: upstream's semantic equality does not see them."""
    if isinstance(value, dict):
        found = {key: pruned for key, item in value.items()
                 if (pruned := prune(item) if type(item) is dict or type(item) is list else item) is not None}
        return found or None
    if isinstance(value, list):
        return [prune(item) for item in value] or None
    return value
