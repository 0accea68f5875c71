"""Runs the node's tests in network and mount namespaces of their own, so that nothing of the machine is touched."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.root
def test_pods_on_a_real_containerd() -> None:
    files = " ".join(f"tests/integration/kubelet/inside/{name}.py" for name in ("life", "serve", "disk", "fault"))
    script = ("mount --make-rshared / && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns "
              "&& ip link set lo up && ip link add up0 type veth peer name up1 "
              "&& ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && ip link set up1 up && ip route add default dev up0 "
              f"&& exec {sys.executable} -m pytest -q --showlocals -p no:cacheprovider {files}")
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    print(done.stdout)
