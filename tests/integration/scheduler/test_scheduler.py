"""The scheduler as a process, under its own identity, against a real API server."""
from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import orjson
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


PODS, NODES = int(os.environ.get("KUBEPY_SCHEDULED_PODS", "400")), 20
"""How many pods are created while one of two schedulers is killed, for how many nodes."""
ROOM = -(-(PODS + 1) // NODES)


class Watcher(threading.Thread):
    """Sees every binding as it happens: a pod that gets another node, and nodes with more pods than they take, are `wrong`."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.nodes, self.wrong, self.ended = cluster, {}, [], threading.Event()
        self.used = Counter()

    def run(self):
        version = self.cluster.get("/api/v1/namespaces/default/pods?limit=1")["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
        with httpx.Client(base_url=self.cluster.server.url, verify=False, timeout=None,
                          headers={"Authorization": f"Bearer {self.cluster.server.token}"}) as api, \
                api.stream("GET", "/api/v1/namespaces/default/pods", params=query) as stream:
            for line in stream.iter_lines():
                pod = orjson.loads(line)["object"]
                name, node = pod["metadata"]["name"], pod["spec"].get("nodeName")
                if node and name not in self.nodes:
                    self.nodes[name] = node
                    self.used[node] += 1
                    if self.used[node] > ROOM:
                        self.wrong.append((name, node, self.used[node]))
                elif node and self.nodes[name] != node:
                    self.wrong.append((name, self.nodes[name], node))
                if len(self.nodes) > PODS or self.ended.is_set():
                    return


def test_two_schedulers_one_killed_bind_every_pod_once_within_capacity(cluster):
    """As many pods as the nodes have room for: what is counted twice, or forgotten, shows as a pod without a place or a node too full.
    A scheduler that loses its lease because the machine is slow ends, and is started again, as its supervisor would."""
    flags = ("--leader-elect-lease-duration", "4s", "--leader-elect-renew-deadline", "3s", "--leader-elect-retry-period", "500ms")
    schedulers = [cluster.start(*flags)]
    for index in range(NODES):
        cluster.node(f"n{index}", cpu=f"{ROOM * 100}m", pods=str(ROOM + 10))
    watcher = Watcher(cluster)
    watcher.start()
    cluster.pod("probe")
    cluster.eventually(lambda: cluster.placed()["probe"])
    schedulers.append(cluster.start(*flags))
    moment = random.randrange(PODS // 4, PODS * 3 // 4)

    def create(index):
        if index == moment:
            os.kill(schedulers[0].pid, signal.SIGKILL)
        cluster.pod(f"p{index}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(PODS)))

    def done():
        if schedulers[-1].poll() is not None:
            schedulers.append(cluster.start(*flags))
        return all(cluster.placed().values())

    cluster.eventually(done, seconds=120)
    watcher.join(20)
    assert not watcher.is_alive()
    assert not watcher.wrong
    placed = cluster.placed()
    assert placed == watcher.nodes
    assert len(placed) == PODS + 1
    assert max(Counter(placed.values()).values()) <= ROOM
