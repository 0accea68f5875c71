"""The kubectl commands people use every day, unmodified."""
from __future__ import annotations

import json
import sys
import threading
import time

import pytest

from tests.e2e.cluster import Cluster, eventually

POD = """
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
    - {name: box, image: "busybox:1.36", command: [sh, -c, "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done"]}
    - {name: web, image: "busybox:1.36", command: [sh, -c, "mkdir /www; echo forwarded >/www/index.html; exec httpd -f -p 8080 -h /www"]}
"""


@pytest.fixture(scope="module", autouse=True)
def box(one_node: Cluster) -> None:
    one_node.kubectl("apply", "-f", "-", input=POD)
    one_node.kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=150s")


def test_logs_follow(one_node: Cluster) -> None:
    process = one_node.popen("kubectl", "logs", "-f", "--tail=1", "box", "-c", "box")
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
    finally:
        process.terminate()
        process.communicate()
    assert all(line.startswith("line ") for line in lines), lines
    eventually("two lines", lambda: one_node.kubectl("logs", "box", "-c", "box", "--tail=2").count("\n") == 2)


def test_exec_returns_output_and_exit_code(one_node: Cluster) -> None:
    assert one_node.kubectl("exec", "box", "-c", "box", "--", "echo", "hello") == "hello\n"
    assert "exit code 7" in one_node.kubectl("exec", "box", "-c", "box", "--", "sh", "-c", "exit 7", check=False)


def test_exec_takes_piped_input_to_its_end(one_node: Cluster) -> None:
    text = "some input\n" * 5000
    assert one_node.kubectl("exec", "-i", "box", "-c", "box", "--", "cat", input=text) == text


def test_exec_with_a_terminal(one_node: Cluster) -> None:
    output = one_node.run("script", "-qec", "kubectl exec -it box -c box -- sh -c 'tty; stty size'", "/dev/null", input="")
    assert "/dev/pts/" in output


def test_port_forward(one_node: Cluster) -> None:
    process = one_node.popen("kubectl", "port-forward", "pod/box", "18080:8080")
    try:
        assert process.stdout is not None
        assert "Forwarding from 127.0.0.1:18080" in process.stdout.readline()
        assert one_node.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:18080/") == "forwarded\n"
    finally:
        process.terminate()
        process.communicate()


def test_cp_both_ways(one_node: Cluster) -> None:
    source = one_node.directory / "sent"
    source.write_text("copied\n" * 1000)
    one_node.kubectl("cp", str(source), "box:/tmp/there", "-c", "box")
    one_node.kubectl("cp", "box:/tmp/there", str(one_node.directory / "back"), "-c", "box")
    assert (one_node.directory / "back").read_text() == source.read_text()


def test_rollout_forth_and_back(cluster: Cluster) -> None:
    made = json.loads(cluster.kubectl("create", "deployment", "roll", "--image=busybox:1.36", "--replicas=2", "--dry-run=client", "-o",
                                      "json", "--", "sleep", "3600"))
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    cluster.kubectl("create", "-f", "-", input=json.dumps(made))
    cluster.kubectl("rollout", "status", "deployment/roll", "--timeout=150s")
    cluster.kubectl("set", "image", "deployment/roll", "busybox=busybox:latest")
    cluster.kubectl("rollout", "status", "deployment/roll", "--timeout=150s")
    assert cluster.get("deployment", "roll")["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:latest"
    cluster.kubectl("rollout", "undo", "deployment/roll")
    cluster.kubectl("rollout", "status", "deployment/roll", "--timeout=150s")
    assert cluster.get("deployment", "roll")["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:1.36"
    assert cluster.kubectl("rollout", "history", "deployment/roll").count("\n") >= 3
    cluster.kubectl("scale", "deployment/roll", "--replicas=4")
    eventually("four replicas are ready", lambda: cluster.get("deployment", "roll")["status"].get("readyReplicas") == 4)
    cluster.kubectl("delete", "deployment", "roll", "--wait")
    eventually("its pods are gone", lambda: not cluster.get("pods", "-l", "app=roll")["items"])


def test_watching_shows_each_step(cluster: Cluster) -> None:
    process = cluster.popen("kubectl", "-n", cluster.namespace, "get", "pods", "-w", "-l", "seen=here")
    assert process.stdout is not None
    cluster.kubectl("run", "first", "--image=busybox:1.36", "--labels=seen=here", "--", "sleep", "3600")
    while not (line := process.stdout.readline()).startswith("first"):
        assert line, "the watch has ended"
    cluster.kubectl("run", "watched", "--image=busybox:1.36", "--labels=seen=here", "--", "sleep", "3600")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/watched", "--timeout=150s")
    cluster.kubectl("delete", "pod", "watched", "--grace-period=1")
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        eventually("each step", lambda: {"Pending", "ContainerCreating", "Running", "Terminating"} <= {
            word for line in list(seen) if line.startswith("watched") for word in line.split()})
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stdout.close()


def test_describe_shows_events(one_node: Cluster) -> None:
    def described() -> bool:
        output = one_node.kubectl("describe", "pod", "box")
        return all(word in output for word in ("Scheduled", "Pulled", "Created", "Started", "Successfully assigned default/box"))
    eventually("every event is there", described)
    assert "Started" in one_node.kubectl("get", "events", "--field-selector", "involvedObject.name=box")


@pytest.mark.parametrize(("command", "expected"), [
    pytest.param("explain deployment.spec.strategy", "rollingUpdate", id="explain"),
    pytest.param("api-resources", "deployments", id="api-resources"),
    pytest.param("auth can-i create pods", "yes", id="auth can-i"),
    pytest.param("auth can-i create pods --as=nobody", "no", id="auth can-i as another"),
    pytest.param("create token default", "ey", id="create token"),
    pytest.param("label pod box tier=test --overwrite", "labeled", id="label"),
    pytest.param("annotate pod box note=hello --overwrite", "annotated", id="annotate"),
    pytest.param("get pods -o wide", "box", id="get -o wide"),
    pytest.param("get all", "pod/box", id="get all"),
    pytest.param("get --raw /version", "v1.36", id="raw"),
    pytest.param("cluster-info", "control plane", id="cluster-info"),
])
def test_everyday_commands(one_node: Cluster, command: str, expected: str) -> None:
    assert expected in one_node.kubectl(*command.split(), check=not command.endswith("nobody"))


def test_apply_diff_and_edit(cluster: Cluster) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: red}\n"
    cluster.kubectl("apply", "--server-side", "-f", "-", input=manifest)
    assert "+  colour: blue" in cluster.kubectl("diff", "--server-side", "-f", "-", input=manifest.replace("red", "blue"), check=False)
    cluster.run("env", "KUBE_EDITOR=sed -i s/red/green/", "kubectl", "-n", cluster.namespace, "edit", "configmap", "settings")
    assert cluster.get("configmap", "settings")["data"] == {"colour": "green"}
    assert "conflict" in cluster.kubectl("apply", "--server-side", "-f", "-", input=manifest, check=False)


def test_deleting_gives_a_pod_its_grace(cluster: Cluster) -> None:
    cluster.kubectl("run", "slow", "--image=busybox:1.36", "--", "sh", "-c", "trap 'sleep 3; exit 0' TERM; while true; do sleep 0.1; done")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/slow", "--timeout=150s")
    began = time.monotonic()
    cluster.kubectl("delete", "pod", "slow", "--grace-period=60")
    assert 2.5 < time.monotonic() - began < 45


PYTHON_CLIENT = """
from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config()
core = client.CoreV1Api()
print(core.read_namespaced_pod("box", "default").status.phase)
print(stream(core.connect_get_namespaced_pod_exec, "box", "default", container="box", command=["echo", "by python"],
             stderr=True, stdin=False, stdout=True, tty=False), end="")
core.patch_namespaced_pod("box", "default", {"metadata": {"labels": {"seen": "python"}}})
for event in watch.Watch().stream(core.list_namespaced_pod, "default", label_selector="seen=python", timeout_seconds=10):
    print(event["type"], event["object"].metadata.name)
    break
"""

KR8S = """
import kr8s
from kr8s.objects import Pod

pod = Pod.get("box", namespace="default")
print(pod.status.phase)
print(pod.exec(["echo", "by kr8s"], container="box").stdout.decode(), end="")
pod.patch({"metadata": {"labels": {"seen": "kr8s"}}})
print(len(list(kr8s.get("pods", namespace="default", label_selector={"seen": "kr8s"}))))
"""


@pytest.mark.parametrize(("script", "expected"), [
    pytest.param(PYTHON_CLIENT, "Running\nby python\nADDED box\n", id="the official client"),
    pytest.param(KR8S, "Running\nby kr8s\n1\n", id="kr8s"),
])
def test_python_clients_read_exec_patch_and_watch(one_node: Cluster, script: str, expected: str) -> None:
    assert one_node.run(sys.executable, "-W", "ignore", "-c", script) == expected
