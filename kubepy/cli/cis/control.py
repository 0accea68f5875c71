"""One control of the benchmark, and its outcome."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kubepy.cli.cis.facts import Facts

Status = Literal["pass", "fail", "info"]
Check = Callable[[Facts], str]
"""Gives why a cluster does not pass; "" when it does."""


@dataclass(frozen=True, slots=True)
class Control:
    """With a `check` it passes or fails; without one `why` says why there is nothing to check."""

    id: str
    title: str
    check: Check | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    control: Control
    status: Status
    why: str = ""


def judge(controls: tuple[Control, ...], facts: Facts) -> list[Outcome]:
    """Controls of parts that do not run here are left to the machine they run on."""
    found = []
    for control in controls:
        if control.check is None:
            found.append(Outcome(control, "info", control.why))
        else:
            why = control.check(facts)
            found.append(Outcome(control, "fail" if why else "pass", why))
    return found
