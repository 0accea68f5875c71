"""What a newcomer does first: bring a cluster up and apply the examples."""
from __future__ import annotations

import pytest

from tests.e2e.cluster import REPOSITORY, Cluster, eventually

NAMES = ("web", "web.default", "web.default.svc.cluster.local")


def test_the_node_is_ready_in_time(one_node: Cluster) -> None:
    assert one_node.kubectl("get", "nodes", "--no-headers").split()[1:3] == ["Ready", "control-plane"]
    assert one_node.ready_after < 120, "a newcomer would think that it hangs"


def test_every_part_is_ready_and_has_a_version(one_node: Cluster) -> None:
    status = one_node.status()
    assert {row["name"]: row["phase"] for row in status["parts"]} == dict.fromkeys(("etcd", "containerd", "apiserver", "scheduler",
        "controller-manager", "kubelet", "proxy", "dns", "metrics-server", "ingress"), "ready")
    assert all(row["version"] not in ("", "?") for row in status["parts"])


def test_the_examples_run(one_node: Cluster) -> None:
    one_node.kubectl("apply", "-f", str(REPOSITORY / "deploy/examples/web.yaml"), "-f", str(REPOSITORY / "deploy/examples/job.yaml"))
    one_node.kubectl("rollout", "status", "deployment/web", "--timeout=150s")
    one_node.kubectl("wait", "--for=condition=complete", "job/greet", "--timeout=150s")
    assert "Hello from web-" in one_node.kubectl("logs", "job/greet")
    assert one_node.get("ingress", "web")["spec"]["rules"][0]["host"] == "web.example.com"


@pytest.fixture(scope="module")
def pods(one_node: Cluster) -> list[str]:
    return [item["metadata"]["name"] for item in one_node.get("pods", "-l", "app=web")["items"]]


def test_the_cluster_address_answers_from_every_pod(one_node: Cluster, pods: list[str]) -> None:
    address = one_node.get("service", "web")["spec"]["clusterIP"]

    def answers() -> set[str]:
        return {one_node.run("curl", "-s", "--max-time", "2", f"http://{address}/cgi-bin/hello").strip().removeprefix("Hello from ")
                for _ in range(8)}
    seen: set[str] = set()
    eventually("all three pods answered", lambda: seen.update(answers()) or set(pods) <= seen)


def test_the_node_port_answers(one_node: Cluster) -> None:
    eventually("it answers", lambda: one_node.run("curl", "-s", "--max-time", "3", "http://198.51.100.2:30080/cgi-bin/hello").startswith(
        "Hello from web-"))


def test_the_ingress_answers_by_its_host(one_node: Cluster) -> None:
    address = eventually("the Ingress has an address", lambda: one_node.get("ingress", "web")["status"]["loadBalancer"]["ingress"][0]["ip"])

    def ask(host: str) -> str:
        return one_node.run("curl", "-s", "--max-time", "3", "-H", f"Host: {host}", f"http://{address}/cgi-bin/hello")
    assert eventually("the host is served", lambda: ask("web.example.com")).startswith("Hello from web-")
    eventually("no other host is", lambda: ask("other.example.com") == "default backend - 404")


@pytest.mark.parametrize("name", NAMES)
def test_names_resolve_in_a_pod(one_node: Cluster, pods: list[str], name: str) -> None:
    eventually("it answers", lambda: one_node.kubectl(
        "exec", pods[0], "--", "timeout", "5", "wget", "-q", "-O", "-", f"http://{name}/cgi-bin/hello").startswith("Hello from web-"))


def test_the_secret_reaches_only_the_environment(one_node: Cluster, pods: list[str]) -> None:
    assert one_node.kubectl("exec", pods[0], "--", "sh", "-c", "echo $TOKEN").strip() == "a-value-only-the-pods-know"


CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: c, image: "busybox:1.36", command: [sh, -c, "date >>/data/starts; sleep 3600"], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: kept}}]
"""


def test_a_claim_gets_a_volume_whose_data_outlives_the_pod(cluster: Cluster) -> None:
    for number in (1, 2):
        cluster.kubectl("apply", "-f", "-", input=CLAIM.replace("NAME", f"writer-{number}"))
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/writer-{number}", "--timeout=150s")
        eventually(f"written {number} times", lambda pod=f"writer-{number}", times=number: cluster.kubectl(  # type: ignore[misc]
            "exec", pod, "--", "cat", "/data/starts").count("\n") == times)
        cluster.kubectl("delete", "pod", f"writer-{number}")
    volume = cluster.get("pvc", "kept")["spec"]["volumeName"]
    cluster.kubectl("delete", "pvc", "kept")
    eventually("the volume is gone with its claim", lambda: volume not in cluster.kubectl("get", "pv"))


def test_top_shows_what_nodes_and_pods_use(one_node: Cluster, pods: list[str]) -> None:
    eventually("the node's use is known", lambda: "%" in one_node.kubectl("top", "nodes"))
    eventually("the pods' use is known", lambda: all(pod in one_node.kubectl("top", "pods") for pod in pods))
