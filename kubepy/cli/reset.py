"""`kubepy node reset`: takes this machine out of its cluster and removes every trace; `kubepy node doctor`: what is wrong with it."""
from __future__ import annotations

import argparse
from pathlib import Path

from kubepy.cli import down
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings, default_data_dir
from kubepy.kubelet import doctor


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="kubepy node", description="What concerns this machine as a node.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="reset|doctor")
    reset = actions.add_parser("reset", help="stop the pods and all parts here, and remove every trace of the cluster")
    reset.add_argument("--data-dir", type=Path, default=default_data_dir())
    doctor.add_flags(actions.add_parser("doctor", help="say what is wrong with this machine as a node, and how to mend it"))
    options = parser.parse_args(argv)
    if options.action == "doctor":
        return doctor.run(options)
    settings = Settings.load(options.data_dir)
    if settings is not None and settings.role != "node":
        Progress().fail("this is the cluster's control plane, and its only copy: `kubepy down --purge` removes the whole cluster")
        return 2
    status = down.main([f"--data-dir={options.data_dir}", "--purge"])
    if status == 0 and settings is not None:  # a node may not delete its own Node object
        print(f"On the control plane, this takes the node out of the list: kubectl delete node {settings.node_name}")
    return status
