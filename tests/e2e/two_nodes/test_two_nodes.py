"""A control plane and a joined node: pods, Services and names across both, and what happens when the node is lost and comes back."""
from __future__ import annotations

import json
import sys
from itertools import product
from typing import Any

import pytest

from deploy.local_cluster import Failed, LocalCluster, Node
from tests.e2e.cluster import eventually

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      containers: [{name: web, image: "localhost/kubepy/echo:1", imagePullPolicy: Never, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30081}]}
"""
PATH = "cgi-bin/index.cgi"


def get(cluster: LocalCluster, *arguments: str) -> Any:
    return json.loads(cluster.kubectl("get", *arguments, "-o", "json"))


def pods(cluster: LocalCluster, node: Node | None = None) -> list[Any]:
    """The running pods of the deployment that are not being deleted, on one node or on all."""
    return [pod for pod in get(cluster, "pods", "-l", "app=web")["items"] if "deletionTimestamp" not in pod["metadata"]
            and pod["status"]["phase"] == "Running" and (node is None or pod["spec"]["nodeName"] == node.name)]


def fetch(cluster: LocalCluster, pod: Any, address: str) -> str:
    """What a pod gets from an address: the answering pod's name."""
    return cluster.kubectl("exec", pod["metadata"]["name"], "--", "timeout", "5", "wget", "-q", "-O", "-", f"http://{address}/{PATH}").strip()


def ready(cluster: LocalCluster, node: Node) -> str:
    return next(str(item["status"]) for item in get(cluster, "node", node.name)["status"]["conditions"] if item["type"] == "Ready")


@pytest.fixture(scope="module", autouse=True)
def web(two_nodes: LocalCluster) -> None:
    two_nodes.kubectl("apply", "-f", "-", input=WEB)
    two_nodes.kubectl("rollout", "status", "deployment/web", "--timeout=150s")


@pytest.fixture
def whole(two_nodes: LocalCluster, web: None, repeated: bool) -> None:
    """Both nodes work and have two of the pods, also after an attempt that has broken off."""
    if not repeated:
        return
    for node in two_nodes.nodes[1:]:
        node.kubepy("up", f"--data-dir={node.data}", check=False)
    eventually("both are ready", lambda: all(ready(two_nodes, node) == "True" for node in two_nodes.nodes))
    eventually("their taints are gone", lambda: not any(item["spec"].get("taints") for item in get(two_nodes, "nodes")["items"]))
    for replicas in (0, 4):
        two_nodes.kubectl("scale", "deployment/web", f"--replicas={replicas}")
        two_nodes.kubectl("rollout", "status", "deployment/web", "--timeout=150s")
        eventually("as many run", lambda: len(pods(two_nodes)) == replicas)


def test_the_joined_node_runs_nothing_of_the_control_plane(two_nodes: LocalCluster) -> None:
    status = json.loads(two_nodes.nodes[1].kubepy("status", f"--data-dir={two_nodes.nodes[1].data}", "-o", "json"))
    assert {row["name"]: row["phase"] for row in status["parts"]} == dict.fromkeys(("containerd", "kubelet", "proxy", "dns"), "ready")
    assert status["nodes"] == {two_nodes.nodes[1].name: "Ready"}


def test_the_joined_node_has_no_key_but_its_own(two_nodes: LocalCluster) -> None:
    node = two_nodes.nodes[1]
    assert set(node.run("ls", node.data / "pki").split()) == {"ca.crt", "proxy.crt", "proxy.key", "dns.crt", "dns.key", "kubelet"}
    certificates = node.run("find", node.data / "pki/kubelet", "-name", "*-current.pem", "-printf", "%f ").split()
    assert sorted(certificates) == ["kubelet-client-current.pem", "kubelet-server-current.pem"], "the kubelet asked for them itself"


def test_every_pod_reaches_every_other(two_nodes: LocalCluster) -> None:
    first, second = (pods(two_nodes, node) for node in two_nodes.nodes)
    assert first
    assert second, "the pods are not spread over both nodes"
    for one, other in [*product(first[:1], second), *product(second[:1], first)]:
        eventually("the other answers", lambda: fetch(two_nodes, one, f"{other['status']['podIP']}:8080") == other["metadata"]["name"])


@pytest.mark.parametrize("address", ["web", "web.default.svc.cluster.local"])
@pytest.mark.parametrize("number", [0, 1])
def test_the_service_answers_by_name_on_every_node(two_nodes: LocalCluster, number: int, address: str) -> None:
    names = {pod["metadata"]["name"] for pod in pods(two_nodes)}
    eventually("one of them answers", lambda: fetch(two_nodes, pods(two_nodes, two_nodes.nodes[number])[0], address) in names)


@pytest.mark.parametrize(("client", "server"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_node_port_answers_on_every_node_with_pods_of_both(two_nodes: LocalCluster, client: int, server: int) -> None:
    url = f"http://{two_nodes.nodes[server].address}:30081/{PATH}"
    seen: set[str] = set()

    def all_answered() -> bool:
        seen.update(two_nodes.nodes[client].run("curl", "-s", "--max-time", "5", url).strip() for _ in range(6))
        return {pod["metadata"]["name"] for pod in pods(two_nodes)} <= seen
    eventually("every pod answered", all_answered)


def test_logs_come_from_the_joined_node(two_nodes: LocalCluster) -> None:
    """That needs a serving certificate of the cluster: the API server verifies it."""
    name = pods(two_nodes, two_nodes.nodes[1])[0]["metadata"]["name"]
    two_nodes.kubectl("exec", name, "--", "sh", "-c", "echo seen > /proc/1/fd/1")
    eventually("the line is there", lambda: "seen" in two_nodes.kubectl("logs", name))


def test_the_joined_node_renews_its_certificates_as_itself(two_nodes: LocalCluster) -> None:
    node = two_nodes.nodes[1]
    before = node.run("cat", node.data / "pki/proxy.crt")
    said = node.kubepy("certs", "renew", "--all", f"--data-dir={node.data}")
    assert said.split() == ["renewed", "proxy", "renewed", "dns"], "the kubelet rotates its own"
    assert node.run("cat", node.data / "pki/proxy.crt") != before
    name = pods(two_nodes, node)[0]["metadata"]["name"]
    two_nodes.kubectl("logs", name)
    for who, what in (("kubelet", ("node", node.name)), ("proxy", ("services", "-A")), ("dns", ("services", "-A"))):
        eventually(f"the {who} is let in", lambda: node.run("kubectl", f"--kubeconfig={node.data / f'{who}.kubeconfig'}", "get", *what))


def test_a_machine_with_a_wrong_hash_or_token_does_not_join(two_nodes: LocalCluster) -> None:
    first, node = two_nodes.nodes
    words = first.kubepy("token", "create", f"--data-dir={first.data}").split()[2:]
    script = ("import asyncio, sys\nfrom kubepy.cli.join import discovery, token\n"
              "async def main(a): return await discovery.discover(a[0], token.parse(a[2]), [a[4]], asyncio.get_running_loop().time() + 5)\n"
              "print(asyncio.run(main(sys.argv[1:])).server)")
    assert node.run(sys.executable, "-c", script, *words).strip() == f"https://{first.address}:6443"
    wrong = {2: f"{words[2][:7]}{'0' * 16}", 4: f"sha256:{'0' * 64}"}
    for index, word in wrong.items():
        with pytest.raises(Failed, match="Untrusted"):
            node.run(sys.executable, "-c", script, *words[:index], word, *words[index + 1:])


def test_a_node_may_not_read_what_is_not_its_own(two_nodes: LocalCluster) -> None:
    node = two_nodes.nodes[1]
    for who, what in (("kubelet", ["secrets", "-A"]), ("proxy", ["secrets", "-A"]), ("proxy", ["configmaps", "-A"]),
                      ("dns", ["secrets", "-A"]), ("dns", ["pods", "-A"]), ("kubelet", ["node", two_nodes.nodes[0].name])):
        with pytest.raises(Failed, match="Forbidden"):
            node.run("kubectl", f"--kubeconfig={node.data / who}.kubeconfig", "get", *what)


def test_tokens_are_listed_and_deleted(two_nodes: LocalCluster) -> None:
    first = two_nodes.nodes[0]
    token = first.kubepy("token", "create", f"--data-dir={first.data}", "--quiet", "--ttl=1h", "--description=a test").strip()
    assert token in first.kubepy("token", "list", f"--data-dir={first.data}")
    first.kubepy("token", "delete", token, f"--data-dir={first.data}")
    assert token not in first.kubepy("token", "list", f"--data-dir={first.data}")


def test_a_lost_node_is_left_by_its_pods_and_comes_back(two_nodes: LocalCluster, whole: None) -> None:
    first, lost = two_nodes.nodes
    before = {pod["metadata"]["name"] for pod in pods(two_nodes, lost)}
    status = json.loads(lost.kubepy("status", f"--data-dir={lost.data}", "-o", "json"))
    lost.run("kill", "-9", str(status["supervisor"]), *(str(row["pid"]) for row in status["parts"] if row["name"] == "kubelet"))
    eventually("the node is not ready", lambda: ready(two_nodes, lost) == "Unknown", 240, 1)
    taints = {(taint["key"], taint["effect"]) for taint in eventually(
        "the node is tainted", lambda: get(two_nodes, "node", lost.name)["spec"].get("taints"))}
    assert taints <= {("node.kubernetes.io/unreachable", "NoExecute"), ("node.kubernetes.io/unreachable", "NoSchedule")}
    eventually("all pods run on the other node", lambda: len(pods(two_nodes, first)) == 4 and not pods(two_nodes, lost), 240, 1)
    url = f"http://{first.address}:30081/{PATH}"
    eventually("no pod of the lost node gets connections any more", lambda: {
        first.run("curl", "-s", "--max-time", "5", url).strip() for _ in range(16)} <= {
        pod["metadata"]["name"] for pod in pods(two_nodes, first)})

    lost.kubepy("up", f"--data-dir={lost.data}")
    eventually("the node is ready", lambda: ready(two_nodes, lost) == "True")
    eventually("its taints are gone", lambda: not get(two_nodes, "node", lost.name)["spec"].get("taints"))
    eventually("the pods of before are gone", lambda: not before & {
        pod["metadata"]["name"] for pod in get(two_nodes, "pods", "-l", "app=web")["items"]})
    two_nodes.kubectl("scale", "deployment/web", "--replicas=6")
    two_nodes.kubectl("rollout", "status", "deployment/web", "--timeout=150s")
    back = eventually("some run on the node that came back", lambda: pods(two_nodes, lost))
    eventually("they are reached", lambda: fetch(
        two_nodes, pods(two_nodes, first)[0], f"{back[0]['status']['podIP']}:8080") == back[0]["metadata"]["name"])
