"""Attempts that failed before a test passed or failed for good (pytest-rerunfailures): what each of them failed with is told at the end,
since a fault that comes and goes can be looked into nowhere else.

Integration tests share a server with the others of their file: an attempt after the first begins with one of its own. (End-to-end tests
share a cluster, which takes too long to make; they have a namespace for each attempt.)

`--fail-first` shows that tests can be repeated: with `--reruns 1` every first attempt fails, `end`: after all it does, `middle`: at one
of its waits (which one depends on its name), with whatever is there left behind.
"""
from __future__ import annotations

from collections.abc import Generator
from typing import Any
from zlib import crc32

import pytest
import pytest_rerunfailures

LINES = 40
MIDDLE = 4
"""At which wait a first attempt fails at the latest."""
_left: int | None = None
"""How many waits the attempt under way may still pass; None: all."""


class Deliberate(AssertionError):
    """The failure that --fail-first asks for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-first", choices=("middle", "end"), help="let each test's first attempt fail (use it with --reruns 1): what it "
                     "leaves behind must not make the second one fail")


def waited() -> None:
    """To be called before each wait. Raises Deliberate when the attempt is to fail here."""
    global _left
    if _left is not None:
        _left -= 1
        if _left < 0:
            _left = None
            raise Deliberate("--fail-first=middle")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if attempt_of(item) > 1 and "/integration/" in str(item.path):
        kept = pytest_rerunfailures.suspended_finalizers  # of the fixtures that the next attempt would have shared
        item.session._setupstate.stack.update(kept)
        kept.clear()
        item.session._setupstate.teardown_exact(None)


def attempt_of(item: pytest.Item) -> int:
    """1 for the first."""
    return int(getattr(item, "execution_count", 1))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    global _left
    wanted = pyfuncitem.config.getoption("--fail-first")
    if not wanted or attempt_of(pyfuncitem) != 1:
        return (yield)
    _left = crc32(pyfuncitem.nodeid.encode()) % MIDDLE if wanted == "middle" else None
    try:
        yield
    finally:
        _left = None
    raise Deliberate("--fail-first")


def described(report: pytest.TestReport) -> list[str]:
    """What a failed attempt says, without what is too long to read."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = [f"{report.nodeid} ({report.when}, attempt {getattr(report, 'rerun', 0) + 1})"]
    if crash is not None:
        lines += [f"{crash.path}:{crash.lineno}: {crash.message.splitlines()[0] if crash.message else ''}"]
    lines += report.longreprtext.splitlines()[-LINES:]
    for title, text in report.sections:
        lines += [f"--- {title} ---", *text.splitlines()[-LINES:]]
    return lines


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for report in terminalreporter.stats.get("rerun", ()) if "--fail-first" not in report.longreprtext]
    if not reports:
        return
    terminalreporter.section("ATTEMPTS THAT FAILED AND WERE REPEATED")
    for report in reports:
        first, *rest = described(report)
        terminalreporter.write_sep("_", first)
        for line in rest:
            terminalreporter.write_line(line)
