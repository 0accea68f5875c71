"""Exponential back-off."""
from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays in seconds that grow by `factor` from `initial` to `maximum`; `jitter` adds up to that fraction."""

    initial: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.0
    _next: float = 0.0

    def next(self) -> float:
        """The delay before the next attempt."""
        base = self._next or self.initial
        self._next = min(base * self.factor, self.maximum)
        return base * (1 + random.random() * self.jitter)

    def reset(self) -> None:
        self._next = 0.0
