"""`kubepy cis`: holds the running cluster against the CIS Kubernetes Benchmark."""
from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import orjson

from kubepy.cli.cis import control_plane, node, policy
from kubepy.cli.cis.control import Outcome, judge
from kubepy.cli.cis.facts import FAILURES, gather
from kubepy.cli.settings import Settings, default_data_dir

CONTROLS = (*control_plane.CONTROLS, *node.CONTROLS, *policy.CONTROLS)


def main(argv: list[str]) -> int:
    """Exit status 0 when nothing fails, 1 when something does, 3 when no cluster answers."""
    parser = argparse.ArgumentParser(prog="kubepy cis",
                                     description="Holds the cluster on this machine against the CIS Kubernetes Benchmark: "
                                     "each control passes, fails with its reason, or says why there is nothing to check.")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    settings = Settings.load(options.data_dir)
    if settings is None or settings.role != "control-plane":
        print(f"kubepy cis: there is no control plane in {options.data_dir}", file=sys.stderr)
        return 3
    try:
        outcomes = judge(CONTROLS, asyncio.run(gather(settings)))
    except FAILURES as error:
        print(f"kubepy cis: the cluster does not answer: {error}", file=sys.stderr)
        return 3
    if options.output == "json":
        rows = [{"id": found.control.id, "title": found.control.title, "status": found.status, "why": found.why} for found in outcomes]
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(outcomes)
    return 1 if any(found.status == "fail" for found in outcomes) else 0


def _print(outcomes: list[Outcome]) -> None:
    for found in outcomes:
        why = f"\n         {found.why}" if found.why else ""
        print(f"{found.status.upper():5} {found.control.id:7} {found.control.title}{why}")
    counts = {status: sum(found.status == status for found in outcomes) for status in ("pass", "fail", "info")}
    print(f"\n{counts['pass']} pass, {counts['fail']} fail, {counts['info']} say why there is nothing to check")
