"""The packet tests through IPVS, in a virtual machine whose kernel has it (one boot for all of them); their results become this one's."""
from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy.machine import SHARED, Machine
from kubepy.proxy.ipvs.backend import IpvsBackend

pytestmark = pytest.mark.root
REPOSITORY = Path(__file__).resolve().parents[3]
AT_LEAST = 21
"""Cases that must have passed: fewer were skipped for want of something."""


async def test_a_kernel_without_ipvs_is_told_from_one_that_has_it():
    assert await IpvsBackend().available() == os.path.exists("/proc/net/ip_vs")  # noqa: ASYNC240


def test_the_proxy_ends_with_a_clear_error_where_there_is_no_ipvs(tmp_path):
    if Path("/proc/net/ip_vs").exists():
        pytest.skip("this kernel has IPVS")
    (tmp_path / "kubeconfig").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {"token": "t"}}]}))
    words = [sys.executable, "-m", "kubepy.cli.main", "proxy", "--proxy-mode=ipvs", f"--kubeconfig={tmp_path / 'kubeconfig'}"]
    done = subprocess.run(["unshare", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 1
    assert "the kernel has no IPVS (module ip_vs)" in done.stderr


def test_packets_through_ipvs_in_a_virtual_machine(tmp_path, record_property):
    if why := Machine.missing():
        pytest.skip(f"IPVS is NOT tested: {why}")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={SHARED}/results.xml",
             "tests/integration/proxy/test_packets.py"]
    machine = Machine(tmp_path / "machine", 768)
    machine.start(f"cd {shlex.quote(str(REPOSITORY))}\nexport KUBEPY_PROXY_BACKENDS=ipvs PYTHONDONTWRITEBYTECODE=1\n{shlex.join(words)}\n")
    try:
        code = machine.wait(900)
    finally:
        machine.stop()
    assert code == 0, machine.printed(150)
    suite = ElementTree.parse(machine.directory / "results.xml").getroot()
    cases = list(suite.iter("testcase"))
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    passed = [case.get("name") for case in cases if case.find("skipped") is None]
    print(f"through IPVS: {len(passed)} passed, {len(skipped)} skipped: {', '.join(map(str, skipped))}")
    assert len(passed) >= AT_LEAST
