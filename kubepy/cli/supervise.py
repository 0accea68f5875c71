"""`kubepy supervise`: the supervisor in the foreground, for a service manager; `kubepy up` starts it in the background."""
from __future__ import annotations

import argparse
from pathlib import Path

from kubepy.cli.join.follow import follow
from kubepy.cli.prepare import prepare_machine
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings, default_data_dir
from kubepy.cli.supervisor import supervise


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="kubepy supervise", description="Runs the parts of a cluster that `kubepy up` has prepared.")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    options = parser.parse_args(argv)
    settings = Settings.load(options.data_dir)
    if settings is None:
        print(f"There is no cluster in {options.data_dir}; `kubepy up` makes one.")
        return 1
    settings = follow(settings)
    prepare_machine(settings, Progress())  # the machine may have been started anew since `kubepy up` or `kubepy join`
    return supervise(settings)
