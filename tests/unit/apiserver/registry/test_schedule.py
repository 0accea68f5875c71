"""Cron schedules: what is accepted, and in which words the rest is refused."""
from __future__ import annotations

import pytest

from kubepy.apiserver.registry.batch.schedule import schedule_problem


@pytest.mark.parametrize("text", ["* * * * *", "*/5 0-3 1,2 JAN mon", "@hourly", "@every 1h30m", "TZ=UTC 0 0 * * *", "0 0 1 1 ?"])
def test_accepted(text: str) -> None:
    assert schedule_problem(text) == ""


@pytest.mark.parametrize(("text", "problem"), [
    ("", "empty spec string"),
    ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
    ("60 * * * *", "end of range (60) above maximum (59): 60"),
    ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
    ("*/0 * * * *", "step of range should be a positive number: */0"),
    ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
    ("@sometimes", "unrecognized descriptor: @sometimes"),
    ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
    ("TZ=Nowhere/X * * * * *", "provided bad location Nowhere/X: unknown time zone Nowhere/X"),
])
def test_refused(text: str, problem: str) -> None:
    assert schedule_problem(text) == problem
