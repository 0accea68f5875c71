"""What happens when something is killed: it comes back, and what ran goes on."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, eventually

POD = """
apiVersion: v1
kind: Pod
metadata: {name: steady}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "busybox:1.36", command: [sleep, "SECONDS"]}]
"""
OURS = ("apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns", "metrics-server", "etcd", "containerd")


@pytest.fixture(scope="module", autouse=True)
def steady(one_node: Cluster) -> None:
    one_node.kubectl("apply", "-f", "-", input=POD.replace("SECONDS", _seconds(one_node)))
    one_node.kubectl("wait", "--for=condition=Ready", "pod/steady", "--timeout=150s")


def _container(one_node: Cluster, pod: str) -> tuple[str, int]:
    """The container's ID and restart count."""
    status = one_node.get("pod", pod)["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def _seconds(one_node: Cluster) -> str:
    """How long the pod sleeps: a number no other process on this machine has among its arguments."""
    return str(10**9 + int(one_node.name[-8:], 16))


def _process(argument: str) -> int:
    """The PID of the process whose command line holds this argument."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in path.read_bytes().split(b"\0"):
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no process has the argument {argument}")


@pytest.mark.parametrize("name", OURS)
def test_a_killed_part_is_restarted_and_pods_go_on(one_node: Cluster, name: str) -> None:
    before, pod_before = one_node.part(name), _container(one_node, "steady")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(f"{name} is ready again", lambda: (now := one_node.part(name))["phase"] == "ready" and now["pid"] != before["pid"])
    eventually("the API answers", lambda: one_node.get("pod", "steady"))
    assert _container(one_node, "steady") == pod_before


def test_a_killed_process_of_a_pod_is_restarted(one_node: Cluster) -> None:
    _, restarts = _container(one_node, "steady")
    os.kill(_process(_seconds(one_node)), signal.SIGKILL)
    eventually("the container was restarted", lambda: _container(one_node, "steady")[1] == restarts + 1)
    one_node.kubectl("wait", "--for=condition=Ready", "pod/steady", "--timeout=150s")


@pytest.fixture(scope="module")
def kept(one_node: Cluster) -> None:
    one_node.kubectl("apply", "-f", "-", input=one_node.kubectl("create", "deployment", "kept", "--image=busybox:1.36", "--dry-run=client",
                                                                "-o", "yaml", "--", "sleep", "3600"))
    one_node.kubectl("rollout", "status", "deployment/kept", "--timeout=150s")


def test_a_deleted_pod_of_a_deployment_is_replaced(one_node: Cluster, kept: None) -> None:
    pod = one_node.get("pods", "-l", "app=kept")["items"][0]["metadata"]["name"]
    one_node.kubectl("delete", "pod", pod, "--grace-period=1")
    eventually("another one runs", lambda: [item for item in one_node.get("pods", "-l", "app=kept")["items"]
               if item["metadata"]["name"] != pod and item["status"]["phase"] == "Running"])


def _running(one_node: Cluster) -> dict[str, Any]:
    """Its status; started where an attempt before this one has left it without anybody who looks after it."""
    if one_node.status()["supervisor"] is None:
        one_node.up()
    return one_node.status()


def test_the_supervisor_is_replaced_without_disturbing_anything(one_node: Cluster) -> None:
    before = _running(one_node)
    os.kill(before["supervisor"], signal.SIGKILL)
    eventually("the supervisor is gone", lambda: one_node.status()["supervisor"] is None)
    one_node.up()
    after = one_node.status()
    assert after["supervisor"] not in (None, before["supervisor"])
    assert {row["name"]: row["pid"] for row in after["parts"]} == {row["name"]: row["pid"] for row in before["parts"]}


def test_everything_survives_down_and_up(one_node: Cluster, kept: None) -> None:
    _running(one_node)
    uid = one_node.get("pod", "steady")["metadata"]["uid"]
    one_node.down()
    with pytest.raises(AssertionError):
        _process(_seconds(one_node))
    one_node.up()
    eventually("the same pod runs again", lambda: (pod := one_node.get("pod", "steady"))["metadata"]["uid"] == uid
               and pod["status"]["phase"] == "Running" and pod["status"]["containerStatuses"][0]["ready"])
    one_node.kubectl("rollout", "status", "deployment/kept", "--timeout=150s")
