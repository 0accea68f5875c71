"""Leases for objects that expire, shared by those that expire at about the same time, as upstream's lease manager does.

An object lives at least its time and at most `SHARE_SECONDS` (or 5 % of its time, where that is more) longer."""
from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kubepy.apiserver.storage.kv import KV
from kubepy.base.clock import Clock

SHARE_SECONDS = 60
SHARE_FRACTION = 0.05
MAX_OBJECTS = 1_000


@dataclass(slots=True)
class _Shared:
    id: int
    until: float
    objects: int = 0


class Leases:
    """Hands out lease IDs by time to live."""

    def __init__(self, kv: KV, clock: Clock) -> None:
        self._kv, self._clock = kv, clock
        self._shared: dict[int, _Shared] = {}
        self._lock = asyncio.Lock()

    async def get(self, ttl: int) -> int:
        """A lease that lasts at least `ttl` seconds from now."""
        async with self._lock:
            now = self._clock.monotonic()
            shared = self._shared.get(ttl)
            if shared is None or shared.until < now or shared.objects >= MAX_OBJECTS:
                extra = max(SHARE_SECONDS, int(ttl * SHARE_FRACTION))
                shared = self._shared[ttl] = _Shared(await self._kv.lease(ttl + extra), now + extra)
            shared.objects += 1
            return shared.id
