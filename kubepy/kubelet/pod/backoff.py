"""Growing delays per key, as client-go's `flowcontrol.Backoff` keeps them: for crashing containers and failing pulls."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class KeyedBackoff:
    """Seconds between attempts, doubling from `initial` to `maximum`; forgotten after twice `maximum` without an attempt."""

    def __init__(self, initial: float = 10.0, maximum: float = 300.0) -> None:
        self.initial = initial
        self.maximum = maximum
        self._entries: dict[str, _Entry] = {}

    def remaining(self, key: str, since: float, now: float) -> float:
        """Seconds until another attempt is due, counted from `since`; 0 when it is due."""
        entry = self._entries.get(key)
        if entry is None or since - entry.updated > 2 * self.maximum:
            return 0.0
        return max(0.0, since + entry.delay - now)

    def delay(self, key: str) -> float:
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def advance(self, key: str, since: float, now: float) -> None:
        """Notes an attempt; `since` is when the last one failed."""
        entry = self._entries.get(key)
        if entry is None or since - entry.updated > 2 * self.maximum:
            self._entries[key] = _Entry(self.initial, now)
        else:
            entry.delay = min(entry.delay * 2, self.maximum)
            entry.updated = now

    def forget(self, prefix: str) -> None:
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]


def show(seconds: float) -> str:
    """A duration as Go prints it: `10s`, `1m20s`, `2m40s`, `5m0s`."""
    whole = round(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
