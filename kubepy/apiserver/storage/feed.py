"""Follows a store: everything there is, then every change, for indexes that are kept in memory (RBAC, the node graph)."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kubepy.api.errors import ApiError
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore
from kubepy.apiserver.storage.watcher import CacheWatcher
from kubepy.base.log import get_logger

log = get_logger("feed")

_PAUSE = 0.1
"""Seconds before everything is read again, so that a history that is always too short costs no core."""


class Feed:
    """Calls `replace(entries)` with the whole content first (and again when history was lost), then `apply(event)` for each change.

    `run` is meant for `Tasks.keep`: it returns only by failing."""

    def __init__(self, store: ResourceStore, replace: Callable[[Sequence[Entry]], None], apply: Callable[[Event], None]) -> None:
        self._store = store
        self._replace = replace
        self._apply = apply
        self.ready = asyncio.Event()

    async def run(self) -> None:
        while True:
            page = await self._store.list(None)
            self._replace(page.entries)
            self.ready.set()
            watcher = await self._store.watch(None, None, after=page.revision)
            if isinstance(watcher, CacheWatcher):
                watcher.take = self._take
            try:
                while True:
                    for event in await watcher.next():
                        self._apply(event)
            except ApiError as error:  # history no longer reaches back: read everything again
                log.info("Reading everything again", err=error.message)
                await asyncio.sleep(_PAUSE)
            finally:
                watcher.close()

    def _take(self, events: Sequence[Event]) -> bool:
        """Applies events where they are published. When one cannot be, `run` applies them again and fails by it."""
        try:
            for event in events:
                self._apply(event)
        except Exception:
            return False
        return True
