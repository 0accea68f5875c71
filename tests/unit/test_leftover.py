"""What killed test runs leave is removed by the next one, and nobody else's."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import leftover


def test_the_directories_and_processes_of_dead_owners_go(tmp_path: Path) -> None:
    owner = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    theirs, ours, others = (tmp_path / name for name in (f"kubepy-etcd-{owner}-abc", f"kubepy-etcd-{os.getpid()}-abc", "kubepy-etcd-abc"))
    made = leftover.directory("x")
    whose = (made / "owner").read_text()
    shutil.rmtree(made)
    elsewhere = tmp_path / f"kubepy-etcd-{owner}-def"
    for path in (theirs, ours, others, elsewhere):
        path.mkdir()
        (path / "owner").write_text("another machine" if path == elsewhere else whose)
    script = "import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script, str(theirs / "data")]) as left, \
            subprocess.Popen([sys.executable, "-c", script, str(ours / "data")]) as kept:
        assert leftover.sweep(tmp_path) == [theirs.name]
        assert left.wait(30) == -9
        assert kept.poll() is None
        kept.kill()
    assert not theirs.exists()
    assert ours.exists()
    assert others.exists()
    assert elsewhere.exists()


def test_a_bound_process_ends_with_its_owner() -> None:
    script = """
import os, pathlib, subprocess, time
from tests import leftover
made = subprocess.Popen(leftover.bound(["sleep", "600"]))
while pathlib.Path("/proc", str(made.pid), "comm").read_text().strip() != "sleep":  # before that it is not bound yet
    time.sleep(0.01)
print(made.pid, flush=True)
os._exit(0)
"""
    root = str(Path(__file__).resolve().parents[2])
    # Its output ends when the last process that holds it has: both.
    made = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": root})
    assert int(made.stdout) > 0
