"""Runs in a virtual machine: performs what is laid into the shared directory, so that commands reach it also when its network does not.

`NUMBER.job` holds a command (its words, and variables of its environment) as JSON; its input is `NUMBER.in`, output and errors go to
`NUMBER.out` and `NUMBER.err`, and at last its exit code to `NUMBER.exit`. With `terminal` (rows and columns) it runs on a terminal (see
`terminal`). Only the standard library is used.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from deploy import terminal

EVERY = 0.1
"""Seconds between looks."""


def perform(directory: Path, number: str) -> None:
    job = json.loads((directory / f"{number}.job").read_text())
    try:
        if job.get("terminal"):
            finish(directory, number, terminal.answer(directory, number, job["command"], {**os.environ, **job["environment"]},
                                                      *job["terminal"]))
            return
        with (directory / f"{number}.in").open("rb") as given, (directory / f"{number}.out").open("wb") as out, \
                (directory / f"{number}.err").open("wb") as err:
            code = subprocess.run(job["command"], env={**os.environ, **job["environment"]}, stdin=given, stdout=out, stderr=err,
                                  check=False).returncode
    except OSError as error:
        (directory / f"{number}.err").write_text(f"{error}\n")
        code = 127
    finish(directory, number, code)


def finish(directory: Path, number: str, code: int) -> None:
    partial = directory / f"{number}.exiting"
    partial.write_text(str(code))
    partial.rename(directory / f"{number}.exit")


def main(directory: Path) -> None:
    seen: set[str] = set()
    while True:
        for name in os.listdir(directory):
            number, dot, kind = name.partition(".")
            if dot and kind == "job" and number not in seen:
                seen.add(number)
                threading.Thread(target=perform, args=(directory, number)).start()
        time.sleep(EVERY)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
