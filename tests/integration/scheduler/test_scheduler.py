"""The scheduler as a process, under its own identity, against a real API server."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.apiserver import ApiServer

pytestmark = pytest.mark.etcd
CODE = "import sys; from kubepy.scheduler.main import main; sys.exit(main(sys.argv[1:]))"


class Cluster:
    def __init__(self, stack, tmp_path):
        self.server = stack.enter_context(ApiServer("--disable-admission-plugins=ServiceAccount"))
        self.api = stack.enter_context(httpx.Client(base_url=self.server.url, verify=False, timeout=30,
                                                    headers={"Authorization": f"Bearer {self.server.token}"}))
        self.kubeconfig = tmp_path / "scheduler.conf"
        own = Path(self.server.kubeconfig).read_text().replace("user: {token:", "user: {as: 'system:kube-scheduler', token:")
        assert "system:kube-scheduler" in own
        self.kubeconfig.write_text(own)
        self.processes = []
        stack.callback(self.stop)

    def start(self, *flags):
        process = subprocess.Popen([sys.executable, "-c", CODE, "--kubeconfig", str(self.kubeconfig), "--secure-port", "0", *flags],
                                   cwd=Path(__file__).resolve().parents[3])
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait(15)

    def node(self, name, **allocatable):
        amounts = {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable}
        self.post("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                                    "status": {"capacity": amounts, "allocatable": amounts}})
        self.api.patch(f"/api/v1/nodes/{name}", json={"spec": {"taints": None}},
                       headers={"Content-Type": "application/merge-patch+json"}).raise_for_status()

    def pod(self, name, cpu="100m", **spec):
        self.post("/api/v1/namespaces/default/pods", {"metadata": {"name": name, "labels": {"app": "x"}}, "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}], **spec}})

    def post(self, path, body):
        answer = self.api.post(path, json=body)
        assert answer.status_code == 201, answer.text

    def get(self, path):
        return self.api.get(path).raise_for_status().json()

    def placed(self):
        return {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in self.get("/api/v1/namespaces/default/pods")["items"]}

    def eventually(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, "not in time"
            time.sleep(0.1)
        return found

    def events(self, reason):
        items = self.get("/api/v1/namespaces/default/events")["items"]
        return {event["involvedObject"]["name"]: event for event in items if event["reason"] == reason}


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
