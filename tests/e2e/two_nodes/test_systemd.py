"""A node that systemd manages: our units there, pods in systemd's slices, and the machine's end through logind. The node is a virtual
machine whose first process is Debian's systemd; it takes minutes, so it is asked for by `--nodes=systemd`."""
from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local_cluster import LocalCluster
from deploy.machine import Machine
from deploy.node import REPOSITORY, VirtualNode
from tests import images, leftover
from tests.e2e.cluster import eventually

KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
shutdownGracePeriod: 90s
shutdownGracePeriodCriticalPods: 5s
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: {grace}
  containers:
  - {{name: c, image: localhost/kubepy/echo:1, imagePullPolicy: Never, command: [sh, -c, "{command}"], resources: {resources}}}
---
"""
WAIT = "trap 'exit 0' TERM; while :; do sleep 0.5; done"
PODS = {
    "guaranteed": "{limits: {cpu: 200m, memory: 50Mi}}",
    "burstable": "{requests: {cpu: 100m, memory: 10Mi}, limits: {memory: 60Mi}}",
    "besteffort": "{}",
}
INSTALL = """
set -e
install -m 644 {repository}/deploy/systemd/*.service /etc/systemd/system/
mkdir -p -m 700 /etc/kubepy
umask 077
printf 'ENDPOINT=%s\\nCA_HASH=%s\\nFLAGS=--kubelet-config=/etc/kubepy/kubelet.yaml\\n' {endpoint} {pin} > /etc/kubepy/join-test.env
printf '%s\\n' {token} > /etc/kubepy/join-test.token
cat > /etc/kubepy/kubelet.yaml
systemctl daemon-reload
systemctl enable kubepy kubepy-join@test
systemctl start kubepy-join@test
"""


@pytest.fixture(scope="module")
def managed(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    if request.config.getoption("--nodes") != "systemd":
        pytest.skip("a node under systemd is only tested when asked for: --nodes=systemd")
    programs = ("etcd", "containerd", "kubectl", "mkfs.ext4", "/lib/systemd/systemd", "busctl", "dbus-daemon")
    if why := Machine.missing() or next((f"{name} is not installed" for name in programs if shutil.which(name) is None), ""):
        pytest.skip(f"a node under systemd is NOT tested: {why}")
    directory = leftover.directory("sd")
    cluster = LocalCluster(uuid.uuid4().hex[:8], ["namespace", "systemd"], directory / "cluster")
    (directory / "namespaces").write_text(f"kubepy-{cluster.name}-")
    failed = request.session.testsfailed
    try:
        cluster.create()
        first, node = cluster.nodes
        first.kubepy("up", *cluster.flags(first), f"--kubeconfig={cluster.kubeconfig}")
        endpoint, _, token, _, pin = cluster.invitation()
        node.run("sh", "-c", INSTALL.format(repository=REPOSITORY, endpoint=endpoint, token=token, pin=pin), input=KUBELET, timeout=400)
        for archive in images.archives().values():
            node.import_image(archive)
        yield cluster
        if request.session.testsfailed > failed:
            print(cluster.kubectl("describe", "pods,nodes", check=False), node.run("journalctl", "--no-pager", "-n", "200", check=False),
                  cluster.logs())
    except BaseException:
        print(cluster.nodes[1].run("journalctl", "--no-pager", "-n", "200", check=False), cluster.logs())
        raise
    finally:
        cluster.down()
        shutil.rmtree(directory, ignore_errors=True)


def show(node: Any, unit: str, name: str) -> str:
    return str(node.run("systemctl", "show", "--value", f"--property={name}", unit)).strip()


def parts(node: Any) -> dict[str, Any]:
    found = json.loads(node.kubepy("status", "-o", "json", check=False))
    return {part["name"]: part for part in found["parts"]}


def pod(cluster: LocalCluster, name: str) -> Any:
    return json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))


def test_units_slices_and_the_machines_end(managed: LocalCluster) -> None:
    node = managed.nodes[1]
    assert isinstance(node, VirtualNode)

    # Joined by its unit, handed over to the other one.
    eventually("kubepy.service runs the node", lambda: show(node, "kubepy", "ActiveState") == "active" and all(
        part["phase"] == "ready" for part in parts(node).values()), 240, 1)
    managed.kubectl("wait", f"node/{node.name}", "--for=condition=Ready", "--timeout=120s", timeout=140)
    managed.kubectl("apply", "-f", "-", input="".join(
        POD.format(name=name, node=node.name, grace=30, command=WAIT, resources=resources) for name, resources in PODS.items()))
    managed.kubectl("wait", "pods", *PODS, "--for=condition=Ready", "--timeout=150s", timeout=170)

    # Each pod is a slice, in its class's slice, with its limits in force; each container a scope.
    slices = {name: pod(managed, name)["metadata"]["uid"].replace("-", "_") for name in PODS}
    paths = {name: f"/kubepods.slice/kubepods-pod{uid}.slice" if name == "guaranteed" else
             f"/kubepods.slice/kubepods-{name}.slice/kubepods-{name}-pod{uid}.slice" for name, uid in slices.items()}
    limits = {"guaranteed": ("20000 100000", str(50 << 20)), "burstable": ("max 100000", str(60 << 20)),
              "besteffort": ("max 100000", "max")}
    for name, path in paths.items():
        found = node.run("sh", "-c", f"cd /sys/fs/cgroup{path} && cat cpu.max memory.max && ls").splitlines()
        assert tuple(found[:2]) == limits[name], name
        assert len([entry for entry in found if entry.startswith("cri-containerd-")]) == 2, name
        assert show(node, Path(path).name, "ControlGroup") == path
    assert show(node, Path(paths["guaranteed"]).name, "MemoryMax") == str(50 << 20)

    # The supervisor killed: started again, and the parts it finds are left alone.
    before = parts(node)
    node.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "kubepy")
    eventually("kubepy.service is started again", lambda: int(show(node, "kubepy", "NRestarts")) == 1 and bool(parts(node)) and all(
        part["phase"] == "ready" for part in parts(node).values()), 240, 1)
    assert {name: part["pid"] for name, part in parts(node).items()} == {name: part["pid"] for name, part in before.items()}

    # Stopped: the parts go in order, pods stay; what it did is in the journal.
    node.run("systemctl", "stop", "kubepy", timeout=130)
    assert show(node, "kubepy", "Result") == "success"
    assert not node.run("sh", "-c", "pgrep -f '[k]ubepy.cli.main|^[c]ontainerd ' || true").split()
    assert node.run("sh", "-c", f"cat /sys/fs/cgroup{paths['guaranteed']}/cri-containerd-*/cgroup.procs").split()
    journal = node.run("journalctl", "--no-pager", "-u", "kubepy", "-o", "cat")
    assert "Taking over a running process" in journal
    stopped = [line.split('part="')[1].split('"')[0] for line in journal.splitlines() if 'phase="stopped"' in line]
    assert stopped == ["dns", "proxy", "kubelet", "containerd"]
    node.run("systemctl", "start", "kubepy")
    eventually("the node is ready again", lambda: all(part["phase"] == "ready" for part in parts(node).values()), 240, 1)
    assert [sum(entry["restartCount"] for entry in pod(managed, name)["status"]["containerStatuses"]) for name in PODS] == [0, 0, 0]

    # logind waits for the kubelet, as long as pods are promised; the machine's end is theirs, each in its time.
    eventually("the kubelet holds the machine's end up", lambda: "kubelet" in node.run("systemd-inhibit", "--list", "--no-pager"), 240, 1)
    allowed = node.run("busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
                       "InhibitDelayMaxUSec")
    assert allowed.split() == ["t", str(90_000_000)]
    node.run("systemctl", "poweroff", check=False)
    eventually("pods have ended with the machine", lambda: {pod(managed, name)["status"].get("reason") for name in PODS} == {"Terminated"},
               120, 1)
    statuses = [pod(managed, name)["status"] for name in PODS]
    assert {status["message"] for status in statuses} == {"Pod was terminated in response to imminent node shutdown."}
    assert {entry["state"]["terminated"]["exitCode"] for status in statuses for entry in status["containerStatuses"]} == {0}
    eventually("the machine is off", lambda: not node.machine.running, 240, 1)
