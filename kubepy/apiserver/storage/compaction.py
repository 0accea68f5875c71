"""Compaction: history older than one interval (5 minutes) is dropped, by one of the API servers that share an etcd.

As upstream: the key `compact_rev_key` holds the revision last compacted; whoever writes it next, by compare-and-swap, compacts
what the previous interval ended with. Servers of both kinds can take turns, as they agree on the key.
"""
from __future__ import annotations

from kubepy.apiserver.storage.kv import KV, KVError
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger

log = get_logger("compaction")

KEY = b"compact_rev_key"


class Compactor:
    """One server's part in it."""

    def __init__(self, kv: KV, clock: Clock, interval: float) -> None:
        self._kv, self._clock, self._interval = kv, clock, interval
        self._known = 0
        """The mod revision of the key as last seen: whoever still finds it so has the turn."""
        self._revision = 0
        """The store's revision one interval ago: what may be dropped now."""

    async def run(self) -> None:
        """Takes turns for ever; a failed turn is the next one's work."""
        while True:
            await self._clock.sleep(self._interval)
            try:
                await self.turn()
            except KVError as error:
                log.error("Compaction failed and will be tried again", error)

    async def turn(self) -> bool:
        """Compacts if no other server has since the last turn; says whether it did."""
        write = await self._kv.put(KEY, str(self._revision).encode(), expected=self._known)
        if not write.ok:
            # Another server's turn; from here on this one counts from that server's write.
            self._known = write.current.mod_revision if write.current else 0
            self._revision = write.revision
            return False
        before, self._known, self._revision = self._revision, write.revision, write.revision
        if not before:
            return False
        await self._kv.compact(before)
        log.v(2).info("Compacted", revision=before)
        return True
