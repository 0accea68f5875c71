"""One evaluation: its variables, what it has cost, and what ends it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

CALL_LIMIT = 1_000_000
"""Of one evaluation (PerCallLimit)."""
BUDGET = 10_000_000
"""Of all evaluations for one object or policy (RuntimeCELCostBudget)."""


class Halt(Exception):
    """Ends an evaluation whatever the expression makes of errors."""


class OverLimit(Halt):
    """The evaluation has cost too much."""


class Frame:
    """One evaluation."""

    __slots__ = ("cost", "limit", "values")

    def __init__(self, values: dict[str, Any], limit: int) -> None:
        self.values = values
        self.cost = 0
        self.limit = limit


Step = Callable[[Frame], Any]
"""A compiled node."""
