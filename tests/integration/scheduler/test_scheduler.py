"""The scheduler as a process, under its own identity, against a real API server."""
from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.integration.scheduler.cluster import Cluster

pytestmark = pytest.mark.etcd
@pytest.fixture
def cluster(tmp_path):
    with ExitStack() as stack:
        yield Cluster(stack, tmp_path)


def test_pods_are_bound_preempted_and_told_why(cluster):
    cluster.start()
    cluster.node("n1")
    cluster.node("n2")
    cluster.pod("a")
    assert cluster.eventually(lambda: cluster.placed()["a"]) in ("n1", "n2")
    event = cluster.eventually(lambda: cluster.events("Scheduled").get("a"))
    assert event["message"] == f"Successfully assigned default/a to {cluster.placed()['a']}"
    cluster.pod("big", cpu="8")
    event = cluster.eventually(lambda: cluster.events("FailedScheduling").get("big"))
    assert event["message"] == ("0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are "
                                "available: 2 Preemption is not helpful for scheduling.")
    [condition] = cluster.eventually(lambda: cluster.get("/api/v1/namespaces/default/pods/big")["status"].get("conditions"))
    assert (condition["reason"], condition["status"]) == ("Unschedulable", "False")
    cluster.node("n3", cpu="16")
    assert cluster.eventually(lambda: cluster.placed()["big"]) == "n3"

    for name in ("f1", "f2", "f3"):
        cluster.pod(name, cpu="3", nodeSelector={"kubernetes.io/hostname": {"f1": "n1", "f2": "n2", "f3": "n3"}[name]})
    cluster.eventually(lambda: all(cluster.placed().values()))
    cluster.post("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 1000})
    cluster.pod("urgent", cpu="3", priorityClassName="high", nodeSelector={"kubernetes.io/hostname": "n1"})
    assert cluster.eventually(lambda: cluster.placed().get("urgent")) == "n1"
    assert "f1" not in cluster.placed()
    assert cluster.eventually(lambda: cluster.events("Preempted").get("f1"))["message"].endswith("on node n1")


def test_two_schedulers_one_killed_bind_every_pod_once_within_capacity(cluster):
    flags = ("--leader-elect-lease-duration", "3s", "--leader-elect-renew-deadline", "2s", "--leader-elect-retry-period", "500ms")
    first = cluster.start(*flags)
    for index in range(5):
        cluster.node(f"n{index}")
    cluster.pod("probe")
    cluster.eventually(lambda: cluster.placed()["probe"])
    cluster.start(*flags)
    for index in range(150):
        cluster.pod(f"p{index}")
        if index == 75:
            os.kill(first.pid, signal.SIGKILL)
    cluster.eventually(lambda: all(cluster.placed().values()), seconds=30)
    counts = Counter(cluster.placed().values())
    assert sum(counts.values()) == 151
    assert max(counts.values()) <= 40  # 4 CPUs of 100m each
