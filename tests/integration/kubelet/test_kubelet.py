"""Runs the node's tests in network and mount namespaces of their own, so that nothing of the machine is touched."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.cri.conftest import NEWER

ROOT = Path(__file__).resolve().parents[3]
SETUP = ("mount --make-rshared / && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns "
         "&& ip link set lo up && ip link add up0 type veth peer name up1 "
         "&& ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && ip link set up1 up && ip route add default dev up0 && exec ")


def inside(*names: str, **environment: str) -> None:
    files = " ".join(f"tests/integration/kubelet/inside/{name}.py" for name in names)
    command = f"{SETUP}{sys.executable} -m pytest -q --showlocals -p no:cacheprovider {files}"
    every = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", command], cwd=ROOT, env=every, capture_output=True, text=True,
                          timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    print(done.stdout)


@pytest.mark.root
def test_pods_on_a_real_containerd() -> None:
    inside("life", "serve", "disk", "fault")


@pytest.mark.root
def test_what_newer_containerds_can() -> None:
    binary = NEWER / "sid" / "usr" / "bin" / "containerd"
    if not binary.exists():
        pytest.skip("no containerd 2: deploy/containerd-versions fetches it")
    inside("stream", "newer", KUBEPY_CONTAINERD=str(binary))


@pytest.mark.root
def test_streams_of_containerd_1_7() -> None:
    binary = NEWER / "trixie" / "usr" / "bin" / "containerd"
    if not binary.exists():
        pytest.skip("no containerd 1.7: deploy/containerd-versions fetches it")
    inside("stream", KUBEPY_CONTAINERD=str(binary))
