"""What a controller has asked for and not seen yet (`controller.ControllerExpectations`).

A controller that has created or deleted pods must not count again until its cache shows them, or it would create twice.
Expectations lapse after five minutes, so that a lost event cannot stop a controller for ever.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubepy.base.clock import Clock

TIMEOUT = 300.0


@dataclass(slots=True)
class _Expected:
    since: float
    creations: int = 0
    deletions: set[str] = field(default_factory=set)


class Expectations:
    """By controller key; deletions are followed by object key, as one may be announced twice (terminating, gone)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected: dict[str, _Expected] = {}

    def satisfied(self, key: str) -> bool:
        found = self._expected.get(key)
        if found is None or (found.creations <= 0 and not found.deletions):
            return True
        return self._clock.monotonic() - found.since > TIMEOUT

    def wait(self, key: str) -> float | None:
        """Seconds until what is expected lapses: should its events be lost, nothing else would wake the controller."""
        if self.satisfied(key):
            return None
        return max(self._expected[key].since + TIMEOUT - self._clock.monotonic(), 0.0) + 1.0

    def expect_creations(self, key: str, count: int) -> None:
        self._expected[key] = _Expected(self._clock.monotonic(), creations=count)

    def expect_deletions(self, key: str, objects: Iterable[str]) -> None:
        self._expected[key] = _Expected(self._clock.monotonic(), deletions=set(objects))

    def expect(self, key: str, creations: int, objects: Iterable[str]) -> None:
        self._expected[key] = _Expected(self._clock.monotonic(), creations, set(objects))

    def created(self, key: str, count: int = 1) -> None:
        """An expected creation was seen, or has failed."""
        if (found := self._expected.get(key)) is not None:
            found.creations -= count

    def deleted(self, key: str, name: str) -> None:
        """An expected deletion was seen, or has failed."""
        if (found := self._expected.get(key)) is not None:
            found.deletions.discard(name)

    def forget(self, key: str) -> None:
        """The controller's object is gone."""
        self._expected.pop(key, None)
