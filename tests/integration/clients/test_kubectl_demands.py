"""What conformance asks of kubectl that needs no node: versions, services of controllers, dry runs on the server, its proxy."""
from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.apiserver import ApiServer
from tests.integration.clients.test_kubectl import kubectl, server

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")]
__all__ = ["server"]
LABELS = {"app": "primary"}


def test_versions_and_cluster_info(server: ApiServer) -> None:
    assert "v1" in kubectl(server, "api-versions")
    assert json.loads("".join(kubectl(server, "version", "-o", "json")))["serverVersion"]["gitVersion"].startswith("v1.36")
    assert server.url in "".join(kubectl(server, "cluster-info"))


def test_a_replication_controller_is_scaled_and_exposed(server: ApiServer, tmp_path: Path) -> None:
    manifest = tmp_path / "rc.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "primary"}, "spec": {
        "replicas": 1, "selector": LABELS, "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [
            {"name": "c", "image": "i:1", "ports": [{"name": "client", "containerPort": 6379}]}]}}}}))
    kubectl(server, "create", "-f", str(manifest))
    for count in (2, 1):
        assert kubectl(server, "scale", "rc/primary", f"--replicas={count}") == ["replicationcontroller/primary scaled"]
        assert kubectl(server, "get", "rc/primary", "-o", "jsonpath={.spec.replicas}") == [str(count)]
    kubectl(server, "expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379")
    kubectl(server, "expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        spec = json.loads("".join(kubectl(server, "get", "service", name, "-o", "json")))["spec"]
        assert (spec["selector"], [(one["port"], one["targetPort"]) for one in spec["ports"]]) == (LABELS, [(port, 6379)])
    kubectl(server, "delete", "-f", str(manifest), "--wait=false")


def test_a_pod_is_run_labelled_and_changed_on_trial(server: ApiServer) -> None:
    kubectl(server, "run", "ran", "--restart=Never", "--image=i:1")
    pod = json.loads("".join(kubectl(server, "get", "pod", "ran", "-o", "json")))
    assert (pod["spec"]["restartPolicy"], pod["spec"]["containers"][0]["image"]) == ("Never", "i:1")
    kubectl(server, "label", "pod", "ran", "testing-label=value")
    assert "value" in kubectl(server, "get", "pod", "ran", "-L", "testing-label")[1]
    kubectl(server, "label", "pod", "ran", "testing-label-")
    assert "value" not in kubectl(server, "get", "pod", "ran", "-L", "testing-label")[1]
    changed = {"spec": {"containers": [{"name": "ran", "image": "i:2"}]}}
    kubectl(server, "patch", "pod", "ran", "-p", json.dumps(changed), "--dry-run=server")
    assert kubectl(server, "get", "pod", "ran", "-o", "jsonpath={.spec.containers[0].image}") == ["i:1"]
    kubectl(server, "delete", "pod", "ran", "--grace-period=0", "--force")


@contextlib.contextmanager
def proxy(server: ApiServer, *flags: str) -> Iterator[str]:
    """Its first line; it ends with the block."""
    process = subprocess.Popen(["kubectl", "--kubeconfig", server.kubeconfig, "proxy", *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
        process.stdout.close()
    finally:
        process.terminate()
        process.wait(30)


def test_the_proxy_listens_where_it_is_told_to(server: ApiServer, tmp_path: Path) -> None:
    with proxy(server, "--port=0", "--disable-filter") as line:
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found is not None
        assert httpx.get(f"http://127.0.0.1:{found[1]}/api/", timeout=30).json()["versions"] == ["v1"]
    socket = tmp_path / "proxy.sock"
    with proxy(server, f"--unix-socket={socket}"):
        deadline = time.monotonic() + 30
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
            assert client.get("http://localhost:0/api/", timeout=30).json()["versions"] == ["v1"]
