#!/usr/bin/env python3
"""The scheduler on a real API server: `scheduler.py --tool PATH/TO/schedule.py [--shape basic] [--nodes 1000] [--pods 1000]`.

Starts an API server on an etcd of its own and `kubepy scheduler` against it, and runs the load tool with `--scheduler-pid`, so that
only scheduling is measured. Prints the tool's line of JSON with the scheduler's memory (MB) added. Runs one shape after another, each
on a fresh server, when several are given separated by commas.
"""
from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from tests.apiserver import ApiServer


def run(options: argparse.Namespace, shape: str) -> dict:
    with ApiServer("--disable-admission-plugins=ServiceAccount") as server, tempfile.NamedTemporaryFile(suffix=".log") as log:
        start = "import sys; from kubepy.scheduler.main import main; sys.exit(main(sys.argv[1:]))"
        scheduler = subprocess.Popen([sys.executable, "-c", start, "--kubeconfig", server.kubeconfig, "--secure-port", "0",
                                      "--leader-elect=false", "-v", str(options.v)], stderr=log)
        try:
            time.sleep(3)
            found = subprocess.run([sys.executable, options.tool, "--server", server.url, "--token", server.token,
                                    "--nodes", str(options.nodes), "--pods", str(options.pods), "--shape", shape,
                                    "--scheduler-pid", str(scheduler.pid), "--timeout", str(options.timeout)],
                                   stdout=subprocess.PIPE, check=False)
            if found.returncode:
                print(Path(log.name).read_text()[-3000:], file=sys.stderr)
                raise SystemExit(found.returncode)
            result = orjson.loads(found.stdout.strip().splitlines()[-1])
            with open(f"/proc/{scheduler.pid}/status") as status:
                result["scheduler_mb"] = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))
            if options.keep_log:
                shutil.copy(log.name, options.keep_log)
            return result
        finally:
            scheduler.send_signal(signal.SIGCONT)
            scheduler.terminate()
            scheduler.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True, help="the load tool, schedule.py")
    parser.add_argument("--shape", default="basic")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--timeout", type=float, default=200)
    parser.add_argument("-v", type=int, default=0)
    parser.add_argument("--keep-log", default="", help="move the scheduler's log there")
    options = parser.parse_args()
    for shape in options.shape.split(","):
        print(orjson.dumps(run(options, shape)).decode(), flush=True)


if __name__ == "__main__":
    main()
