"""One evaluation: its variables, what it has cost, and what ends it."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

CALL_LIMIT = 1_000_000
"""Of one evaluation (PerCallLimit)."""
BUDGET = 10_000_000
"""Of all evaluations for one object or policy (RuntimeCELCostBudget)."""


LARGE = 16 << 10


def is_large(*values: Any) -> bool:
    """Whether expressions about the values can take noticeably long: a unit of cost is about 0.3 µs, and a budget has 10 million."""
    return sum(len(orjson.dumps(value)) for value in values if value is not None) > LARGE


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
