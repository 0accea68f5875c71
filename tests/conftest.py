from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import leftover

pytest_plugins = ("tests.attempt",)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        leftover.sweep()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the scenarios that match now as the expected ones")


class ByCluster(LoadScopeScheduling):  # type: ignore[misc]
    """With several workers the tests of a file stay together, and the end-to-end tests of a folder, which share one cluster."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::")[0]
        return path.rpartition("/")[0] if path.startswith("tests/e2e/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return ByCluster(config, log) if config.getoption("dist") == "loadfile" else None
