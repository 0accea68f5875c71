"""Each behaviour of the conformance list has a test of ours, and that test exists.

The list itself is not part of the repository: where it is at hand ($KUBEPY_CONFORMANCE, a file), it is compared with the table.
"""
from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).resolve().parents[1]
TABLE: dict[str, dict[str, list[str]]] = {}
"""Interest group -> behaviour -> tests, of all files together."""
for _file in sorted((TESTS / "conformance").glob("*.yaml")):
    for _sig, _behaviours in yaml.safe_load(_file.read_text()).items():
        TABLE.setdefault(_sig, {}).update(_behaviours)
DOCUMENTED = "sig-autoscaling"
"""Not in the list: what the documentation promises."""


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("sig", TABLE)
def test_every_behaviour_names_tests_that_exist(sig: str) -> None:
    known = {file: functions(TESTS / file) for file in {test.partition("::")[0] for tests in TABLE[sig].values() for test in tests}}
    missing = [test for tests in TABLE[sig].values() for test in tests if test.partition("::")[2] not in known[test.partition("::")[0]]]
    assert not missing
    assert all(TABLE[sig].values())


def test_no_behaviour_is_missing() -> None:
    path = os.environ.get("KUBEPY_CONFORMANCE")
    if not path:
        pytest.skip("the conformance list is not at hand ($KUBEPY_CONFORMANCE)")
    wanted = {(sig, item["test"].replace(f"[{sig}] ", "").replace(" [Conformance]", ""))
              for sig, items in yaml.safe_load(Path(path).read_text()).items() for item in items}
    assert wanted == {(sig, behaviour) for sig, behaviours in TABLE.items() if sig != DOCUMENTED for behaviour in behaviours}
