"""The queues of one priority level: shuffle sharding spreads flows over them, virtual time serves them in turn. No I/O, no clock.

A queue's virtual time grows by the seat-seconds its requests used, so that a flow of costly requests waits for those of cheap ones;
upstream's dispatcher works by the same measure (`fairqueuing/queueset`).
"""
from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_GUESS = 0.003
"""Seat-seconds a request is taken for before it has run."""


def deal(key: str, queues: int, hand: int) -> list[int]:
    """A flow's hand: distinct queues, the same for the same flow (upstream's shufflesharding.Dealer)."""
    value = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16])
    left = list(range(queues)) if queues <= 4096 else None
    cards: list[int] = []
    for dealt in range(min(hand, queues)):
        value, card = divmod(value, queues - dealt)
        if left is not None:
            cards.append(left.pop(card))
        elif card not in cards:
            cards.append(card)
    return cards


class Queued:
    """One request that waits: `seats` it needs, `start` tells it to run."""

    __slots__ = ("gone", "queue", "seats", "start")

    def __init__(self, seats: int, start: Callable[[], None]) -> None:
        self.seats = seats
        self.start = start
        self.queue = 0
        self.gone = False


class Queues:
    def __init__(self, count: int, hand: int, limit: int) -> None:
        self.count, self.hand, self.limit = count, hand, limit
        self._waiting: dict[int, deque[Queued]] = {}
        self._virtual: dict[int, float] = {}
        self._now = 0.0
        self.length = 0

    def add(self, key: str, request: Queued) -> bool:
        """Puts a request into the shortest queue of its flow's hand; False when that is full."""
        waiting = self._waiting
        chosen = min(deal(key, self.count, self.hand), key=lambda card: len(waiting.get(card, ())))
        queue = waiting.get(chosen)
        if queue is not None and len(queue) >= self.limit:
            return False
        if queue is None:
            queue = waiting[chosen] = deque()
            self._virtual[chosen] = max(self._virtual.get(chosen, 0.0), self._now)
        request.queue = chosen
        queue.append(request)
        self.length += 1
        return True

    def next(self, fits: Callable[[int], bool]) -> Queued | None:
        """Takes the request whose turn it is, if its seats are free; one that does not fit holds back the others, so it is not starved."""
        while self._waiting:
            chosen = min(self._waiting, key=lambda card: self._virtual[card])
            queue = self._waiting[chosen]
            request = queue[0]
            if not request.gone and not fits(request.seats):
                return None
            queue.popleft()
            if not queue:
                del self._waiting[chosen]
            if request.gone:
                continue
            self.length -= 1
            self._now = max(self._now, self._virtual[chosen])
            self._virtual[chosen] += request.seats * _GUESS
            return request
        return None

    def drop(self, request: Queued) -> None:
        """The request gave up waiting."""
        if not request.gone:
            request.gone = True
            self.length -= 1

    def used(self, request: Queued, seconds: float) -> None:
        """Tells how long a dispatched request ran."""
        if request.queue in self._virtual:
            self._virtual[request.queue] += request.seats * (seconds - _GUESS)
        if len(self._virtual) > 4 * len(self._waiting) + 1024:
            self._virtual = {card: value for card, value in self._virtual.items() if card in self._waiting or value > self._now}
