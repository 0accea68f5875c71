"""The latest events of a watch cache, from which watches resume and older states are rebuilt."""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from kubepy.api.errors import Expired
from kubepy.apiserver.storage.entry import Entry, Event
from kubepy.base.clock import Clock

KEEP_SECONDS = 75.0
"""Upstream's event freshness: as long as watches may take to reconnect."""
MIN_EVENTS = 1_000
MAX_EVENTS = 50_000
MAX_BYTES = 64 << 20
"""Of objects that only the history still holds."""


class History:
    """Events in order of revision. Every event after `floor` is here."""

    def __init__(self, clock: Clock, floor: int = 0) -> None:
        self.floor = floor
        self._clock = clock
        self._events: list[Event] = []
        self._times: list[float] = []
        self._start = 0
        self._bytes = 0

    def append(self, events: Sequence[Event]) -> None:
        now = self._clock.monotonic()
        self._events += events
        self._times += [now] * len(events)
        for event in events:
            if event.previous is not None:
                self._bytes += len(event.previous.raw)
        self._trim(now)

    def reset(self, floor: int) -> None:
        self.floor, self._events, self._times, self._start, self._bytes = floor, [], [], 0, 0

    def after(self, revision: int) -> list[Event]:
        """The events after `revision`; raises Expired (410) when some of them are gone."""
        if revision < self.floor:
            raise Expired(f"too old resource version: {revision} ({self.floor})")
        return self._events[bisect_right(self._events, revision, lo=self._start, key=_revision):]

    def undo(self, revision: int) -> dict[str, Entry | None]:
        """What differs between now and `revision`: the state then of each object changed since (None: it was not there)."""
        then: dict[str, Entry | None] = {}
        for event in self.after(revision):
            then.setdefault(event.entry.key, event.previous)
        return then

    def __len__(self) -> int:
        return len(self._events) - self._start

    def _trim(self, now: float) -> None:
        events, times, start = self._events, self._times, self._start
        while (count := len(events) - start) > MIN_EVENTS and (
            times[start] < now - KEEP_SECONDS or count > MAX_EVENTS or self._bytes > MAX_BYTES
        ):
            event = events[start]
            if event.previous is not None:
                self._bytes -= len(event.previous.raw)
            self.floor = event.revision
            start += 1
        # Events of one revision go together: a watch that resumes after it must find none of them.
        if start != self._start:
            while start < len(events) and events[start].revision == self.floor:
                previous = events[start].previous
                if previous is not None:
                    self._bytes -= len(previous.raw)
                start += 1
        self._start = start
        if start >= 1_000:
            del events[:start], times[:start]
            self._start = 0


def _revision(event: Event) -> int:
    return event.revision
