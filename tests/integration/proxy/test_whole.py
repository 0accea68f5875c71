"""Proxy and DNS as processes against a real API server."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.root
@pytest.mark.etcd
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_services_work_from_change_to_connection(mode):
    found = subprocess.run(["unshare", "-n", sys.executable, str(Path(__file__).with_name("whole.py")), mode], cwd=ROOT, text=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=900, check=False)
    assert found.returncode == 0, found.stdout + found.stderr[-4000:]
    assert "all good" in found.stdout
