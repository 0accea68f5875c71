"""An API server, hollow nodes, and scheduler processes under their own identity."""
from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.apiserver import ApiServer

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

    def start(self, *flags, **options):
        process = subprocess.Popen([sys.executable, "-c", CODE, "--kubeconfig", str(self.kubeconfig), "--secure-port", "0", *flags],
                                   cwd=Path(__file__).resolve().parents[3], **options)
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait(60)

    def node(self, name, **allocatable):
        amounts = {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable}
        self.post("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                                    "status": {"capacity": amounts, "allocatable": amounts}})
        self.api.patch(f"/api/v1/nodes/{name}", json={"spec": {"taints": None}},
                       headers={"Content-Type": "application/merge-patch+json"}).raise_for_status()

    def pod(self, name, cpu="100m", **spec):
        self.api.delete(f"/api/v1/namespaces/default/pods/{name}")  # of an attempt that failed
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

    def eventually(self, what, seconds=120):
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, "not in time"
            time.sleep(0.1)
        return found

    def events(self, reason):
        items = self.get("/api/v1/namespaces/default/events")["items"]
        return {event["involvedObject"]["name"]: event for event in items if event["reason"] == reason}
