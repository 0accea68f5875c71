"""Replays recorded conversations with a real kube-apiserver against our server process, and fails on what used to match.

The recordings are beside the repository (`../shared/golden`) or where $KUBEPY_GOLDEN says. `expected.txt` lists the scenarios known to
match, `AREA/NAME` a line; after an improvement write it anew with

    python -m pytest tests/golden --update-golden
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ROOT, ApiServer
from tests.etcd import Etcd

GOLDEN = Path(os.environ.get("KUBEPY_GOLDEN") or ROOT.parent / "shared" / "golden")
EXPECTED = Path(__file__).parent / "expected.txt"
FLAGS = ("--disable-admission-plugins=ServiceAccount", "--enable-admission-plugins=NodeRestriction")
AREAS = ("admission", "apply", "authn", "authz", "crd", "crud", "csr", "defaults", "discovery", "flowcontrol", "kinds", "list", "misc",
         "openapi", "patch", "policy", "quantities", "representation", "subresources", "updates", "validation", "watch", "aggregation")
JOBS = "2"

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not (GOLDEN / "golden.py").exists(), reason=f"no recordings at {GOLDEN}"),
              pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]


def expected() -> dict[str, set[str]]:
    """The scenarios known to match, by area."""
    found: dict[str, set[str]] = {}
    for line in EXPECTED.read_text().splitlines():
        if line and not line.startswith("#"):
            found.setdefault(line.partition("/")[0], set()).add(line)
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(*FLAGS) as running:
        yield running


@pytest.fixture(scope="module")
def matched(pytestconfig: pytest.Config) -> Iterator[set[str]]:
    """Collects what matched; written as the new expectations with --update-golden."""
    found: set[str] = set()
    yield found
    if pytestconfig.getoption("--update-golden") and found:
        areas = {name.partition("/")[0] for name in found}
        kept = {name for names in expected().values() for name in names if name.partition("/")[0] not in areas}
        lines = "".join(f"{name}\n" for name in sorted(kept | found))
        EXPECTED.write_text(f"# Scenarios known to match, kept by --update-golden.\n{lines}")


def replay(server: ApiServer, area: str, directory: Path) -> set[str]:
    """The scenarios of an area that match."""
    result = directory / f"{area}.json"
    subprocess.run([sys.executable, str(GOLDEN / "golden.py"), "--server", server.url, "--token", server.token, "--jobs", JOBS,
                    "--json", str(result), str(GOLDEN / "cases" / area)], capture_output=True, check=False, timeout=900)
    return {name for name, scenario in json.loads(result.read_text()).items() if scenario["matched"] == scenario["steps"]}


@pytest.mark.parametrize("area", AREAS)
def test_recorded_conversations(area: str, server: ApiServer, matched: set[str], tmp_path: Path, pytestconfig: pytest.Config) -> None:
    found = replay(server, area, tmp_path)
    matched |= found
    if not pytestconfig.getoption("--update-golden"):
        assert not expected().get(area, set()) - found, "scenarios that used to match do not any more"
