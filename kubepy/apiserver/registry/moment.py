"""The current time as objects carry it."""
from __future__ import annotations

from datetime import UTC, datetime


def now_text() -> str:
    """Now, to the second, as `metav1.Time` writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
