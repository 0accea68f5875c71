"""Slices that were written and that the cache does not show yet: planning on a stale cache would write them twice."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.store import Store

TIMEOUT = 30.0


class PendingWrites:
    """By owner key; a write that is not seen within half a minute is given up (someone else has undone it)."""

    def __init__(self, cache: Store, clock: Clock) -> None:
        self._cache, self._clock = cache, clock
        self._pending: dict[str, dict[tuple[str, str], tuple[float, str, int | None]]] = {}

    def wrote(self, key: str, obj: Object) -> None:
        self._note(key, obj, int(obj["metadata"].get("generation") or 0))

    def deleted(self, key: str, obj: Object) -> None:
        self._note(key, obj, None)

    def forget(self, key: str) -> None:
        self._pending.pop(key, None)

    def seen(self, key: str) -> bool:
        """Whether the cache shows everything that was written for the key."""
        pending = self._pending.get(key)
        if not pending:
            return True
        now = self._clock.monotonic()
        for (namespace, name), (since, uid, generation) in list(pending.items()):
            cached = self._cache.get(name, namespace)
            if generation is None:
                shown = cached is None or cached["metadata"]["uid"] != uid
            else:
                shown = cached is not None and (cached["metadata"]["uid"] != uid
                                                or int(cached["metadata"].get("generation") or 0) >= generation)
            if shown or now - since > TIMEOUT:
                del pending[namespace, name]
        if not pending:
            del self._pending[key]
            return True
        return False

    def _note(self, key: str, obj: Object, generation: int | None) -> None:
        metadata = obj["metadata"]
        mark = (self._clock.monotonic(), metadata["uid"], generation)
        self._pending.setdefault(key, {})[metadata["namespace"], metadata["name"]] = mark
