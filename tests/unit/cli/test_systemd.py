"""The systemd units, as systemd itself reads them."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).resolve().parents[3] / "deploy/systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    copies = []
    for unit in UNITS:  # the program need not be installed where the tests run
        copies.append(tmp_path / unit.name.replace("@.", "@cluster."))
        copies[-1].write_text(unit.read_text().replace("/usr/local/bin/kubepy", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *copies], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "kubepy" in line], done.stderr
