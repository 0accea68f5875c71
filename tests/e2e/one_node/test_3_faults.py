"""What happens when something is killed: it comes back, and what ran goes on."""
from __future__ import annotations

import os
import signal
from pathlib import Path

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
def steady(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", input=POD.replace("SECONDS", _seconds(cluster)))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/steady", "--timeout=60s")


def _container(cluster: Cluster, pod: str) -> tuple[str, int]:
    """The container's ID and restart count."""
    status = cluster.get("pod", pod)["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def _seconds(cluster: Cluster) -> str:
    """How long the pod sleeps: a number no other process on this machine has among its arguments."""
    return str(10**9 + int(cluster.name[-8:], 16))


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
def test_a_killed_part_is_restarted_and_pods_go_on(cluster: Cluster, name: str) -> None:
    before, pod_before = cluster.part(name), _container(cluster, "steady")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(f"{name} is ready again", lambda: (now := cluster.part(name))["phase"] == "ready" and now["pid"] != before["pid"], 60)
    eventually("the API answers", lambda: cluster.get("pod", "steady"))
    assert _container(cluster, "steady") == pod_before


def test_a_killed_process_of_a_pod_is_restarted(cluster: Cluster) -> None:
    _, restarts = _container(cluster, "steady")
    os.kill(_process(_seconds(cluster)), signal.SIGKILL)
    eventually("the container was restarted", lambda: _container(cluster, "steady")[1] == restarts + 1, 60)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/steady", "--timeout=60s")


def test_a_deleted_pod_of_a_deployment_is_replaced(cluster: Cluster) -> None:
    cluster.kubectl("create", "deployment", "kept", "--image=busybox:1.36", "--", "sleep", "3600")
    cluster.kubectl("rollout", "status", "deployment/kept", "--timeout=60s")
    pod = cluster.get("pods", "-l", "app=kept")["items"][0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", pod, "--grace-period=1")
    eventually("another one runs", lambda: [item for item in cluster.get("pods", "-l", "app=kept")["items"]
               if item["metadata"]["name"] != pod and item["status"]["phase"] == "Running"])


def test_the_supervisor_is_replaced_without_disturbing_anything(cluster: Cluster) -> None:
    before = cluster.status()
    os.kill(before["supervisor"], signal.SIGKILL)
    eventually("the supervisor is gone", lambda: cluster.status()["supervisor"] is None)
    cluster.up()
    after = cluster.status()
    assert after["supervisor"] not in (None, before["supervisor"])
    assert {row["name"]: row["pid"] for row in after["parts"]} == {row["name"]: row["pid"] for row in before["parts"]}


def test_everything_survives_down_and_up(cluster: Cluster) -> None:
    uid = cluster.get("pod", "steady")["metadata"]["uid"]
    cluster.down()
    with pytest.raises(AssertionError):
        _process(_seconds(cluster))
    cluster.up()
    eventually("the same pod runs again", lambda: (pod := cluster.get("pod", "steady"))["metadata"]["uid"] == uid
               and pod["status"]["phase"] == "Running" and pod["status"]["containerStatuses"][0]["ready"], 60)
    cluster.kubectl("rollout", "status", "deployment/kept", "--timeout=60s")
