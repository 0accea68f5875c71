"""Completion indexes: which are done, written as intervals such as `0-3,5,7-9`."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api.types import Object

ANNOTATION = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def parse(text: str | None, completions: int) -> set[int]:
    """Indexes beyond the number of completions (it may have been lowered) do not count."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first), completions - 1) + 1))
    return {item for item in found if item < completions}


def write(indexes: Iterable[int]) -> str:
    parts: list[str] = []
    ordered = sorted(indexes)
    start = 0
    for at, value in enumerate(ordered):
        if at + 1 == len(ordered) or ordered[at + 1] != value + 1:
            first = ordered[start]
            parts.append(str(first) if first == value else f"{first}{',' if value == first + 1 else '-'}{value}")
            start = at + 1
    return ",".join(parts)


def of(pod: Object) -> int | None:
    """A pod's index; None for a pod without a valid one."""
    text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    return int(text) if text.isdigit() else None


def failures(pod: Object) -> int:
    """How often the index had failed before this pod."""
    text = (pod["metadata"].get("annotations") or {}).get(FAILURES, "0")
    return int(text) if text.isdigit() else 0


def ignored_failures(pod: Object) -> int:
    """How many failures of the index before this pod its failure policy told to ignore; they lengthen the back-off only."""
    text = (pod["metadata"].get("annotations") or {}).get(IGNORED, "0")
    return int(text) if text.isdigit() else 0
