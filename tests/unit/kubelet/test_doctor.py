"""What the doctor finds."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubepy.kubelet.doctor import Facts, judge, report

HEALTHY = Facts(endpoint="unix:///run/c.sock", runtime="containerd 1.6.20", cgroup="v2",
                controllers=frozenset({"cpu", "cpuset", "memory", "pids", "io"}), cni_bin="/opt/cni/bin",
                programs=frozenset({"runc", "iptables-restore", "nsenter", "mount"}),
                plugins=frozenset({"bridge", "host-local", "loopback", "portmap", "bandwidth"}), cni_configs=("10-kubepy.conflist",),
                modules=frozenset({"overlay", "br_netfilter"}),
                sysctls={"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"})


def test_a_healthy_machine_can_be_a_node() -> None:
    assert {finding.level for finding in judge(HEALTHY)} == {"ok"}
    assert report(judge(HEALTHY)).endswith("This machine can be a node.")


@pytest.mark.parametrize(("change", "level", "words", "remedy"), [
    ({"runtime": "", "runtime_problem": "connection refused"}, "broken", "no container runtime answers", "systemctl start containerd"),
    ({"cgroup": ""}, "broken", "no cgroups are mounted", "mount -t cgroup2"),
    ({"controllers": frozenset({"cpu", "cpuset", "pids"})}, "broken", "controllers are missing: memory", "+memory"),
    ({"programs": HEALTHY.programs - {"iptables-restore"}}, "broken", "iptables-restore is not installed", "apt-get install iptables"),
    ({"plugins": frozenset({"loopback"})}, "broken", "bridge, host-local, portmap, bandwidth", "containernetworking-plugins"),
    ({"sysctls": {"net.ipv4.ip_forward": "0", "net.bridge.bridge-nf-call-iptables": "1"}}, "broken", "net.ipv4.ip_forward is 0",
     "sysctl -w net.ipv4.ip_forward=1"),
    ({"sysctls": {"net.ipv4.ip_forward": "1"}}, "warning", "br_netfilter is not loaded", "modprobe br_netfilter"),
    ({"swap": True}, "warning", "swap is on", "swapoff"),
    ({"shared_root": False}, "broken", "root mount is private", "make-rshared"),
    ({"free_disk": 0.05}, "broken", "only 5% of the disk", "free some space"),
    ({"conditions": {"NetworkReady": "NetworkPluginNotReady cni"}}, "warning", "pod network is not set up", "kubepy join"),
    ({"cni_configs": ("05-other.conf", "10-kubepy.conflist")}, "warning", "only 05-other.conf is used", "remove 10-kubepy"),
], ids=["no runtime", "no cgroups", "a controller is missing", "a program is missing", "CNI plugins are missing", "no forwarding",
        "no bridge filter", "swap", "a private root", "a full disk", "no pod network yet", "two CNI configurations"])
def test_what_is_wrong_and_how_to_mend_it(change: dict[str, Any], level: str, words: str, remedy: str) -> None:
    findings = [finding for finding in judge(replace(HEALTHY, **change)) if finding.level != "ok"]
    assert [finding.level for finding in findings] == [level]
    assert words in findings[0].what
    assert remedy in findings[0].remedy
