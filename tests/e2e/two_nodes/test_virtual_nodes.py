"""Two virtual machines join a cluster: each has a kernel, cgroups (version 2), containerd, kubelet and proxy of its own; one proxy uses
IPVS, the other iptables. Where there can be no virtual machines the test is skipped, and says so."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deploy.local_cluster import LocalCluster
from deploy.machine import Machine
from deploy.node import NETWORK, Failed, Node, RemoteNode, VirtualNode, make
from kubepy.kubelet.pause import pause_archive
from tests import images, leftover
from tests.e2e.cluster import eventually, heard

MODES = {2: "ipvs", 3: "iptables"}
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
SERVE_SSH = """
set -e
mkdir -p -m 755 /run/sshd /etc/kubepy-ssh
grep -q ^sshd: /etc/passwd || echo 'sshd:x:103:65534::/run/sshd:/usr/sbin/nologin' >> /etc/passwd
usermod -p '*' root
rm -f /root/.bashrc  # this machine's, which may do much before each command
umask 077
cat > /etc/kubepy-ssh/key
ssh-keygen -y -f /etc/kubepy-ssh/key > /etc/kubepy-ssh/authorized
{sshd} -f /dev/null -h /etc/kubepy-ssh/key -o AuthorizedKeysFile=/etc/kubepy-ssh/authorized -o StrictModes=no -o UsePAM=no
"""
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
      nodeSelector: {virtual: "yes"}
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      containers:
      - name: web
        image: localhost/kubepy/echo:1
        imagePullPolicy: Never
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 10m, memory: 10Mi}, limits: {memory: 60Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIP: 10.96.7.7, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30081}]}
"""
STAYS = """
apiVersion: v1
kind: Pod
metadata: {{name: stays}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  volumes: [{{name: notes, emptyDir: {{}}}}]
  containers:
  - name: c
    image: localhost/kubepy/echo:1
    imagePullPolicy: Never
    command: [sh, -c, "echo began >> /notes/starts; sync; exec httpd -f -p 8080 -h /www"]
    volumeMounts: [{{name: notes, mountPath: /notes}}]
"""
"""Is not moved when its node is lost for a while (five minutes are tolerated), and starts again on it."""
PATH = "cgi-bin/index.cgi"


@pytest.fixture(scope="module")
def virtual(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    if why := Machine.missing() or next((f"{name} is not installed" for name in ("etcd", "containerd", "kubectl", "mkfs.ext4")
                                         if shutil.which(name) is None), ""):
        pytest.skip(f"nodes with a kernel of their own are NOT tested: {why}")
    directory = leftover.directory("vm")
    cluster = LocalCluster(uuid.uuid4().hex[:8], ["namespace", "vm", "vm"], directory / "cluster", heard=heard)
    (directory / "namespaces").write_text(f"kubepy-{cluster.name}-")
    failed, machine = request.session.testsfailed, cluster.nodes[2]
    try:
        cluster.create()
        first, *machines = cluster.nodes
        first.kubepy("up", *cluster.flags(first), f"--kubeconfig={cluster.kubeconfig}")
        if SSHD:
            machines[1] = cluster.nodes[2] = by_ssh(cluster, machines[1], directory)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda node: cluster.join(node, f"--proxy-mode={MODES[node.number]}"), machines))
        for node in machines:
            cluster.kubectl("label", "node", node.name, "virtual=yes")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda node: [node.import_image(archive) for archive in (pause_archive(), images.echo_archive())], machines))
        yield cluster
        if request.session.testsfailed > failed:
            print(cluster.kubectl("describe", "pods", check=False), cluster.kubectl("get", "events", "-A", check=False), cluster.logs())
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        if ssh := os.environ.pop("KUBEPY_SSH", ""):
            subprocess.run([*ssh.split(), "-O", "exit", "machine"], check=False, capture_output=True)
        cluster.nodes[2] = machine  # which was another host to the cluster: nothing need be cleaned up there
        cluster.down()
        shutil.rmtree(directory, ignore_errors=True)


def by_ssh(cluster: LocalCluster, machine: Node, directory: Path) -> RemoteNode:
    """The machine as another host, which is reached through a real sshd."""
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", key], check=True)
    machine.run("sh", "-c", SERVE_SSH.format(sshd=SSHD), input=key.read_text())
    (directory / "known").write_text(f"{machine.address} {key.with_suffix('.pub').read_text()}")
    subprocess.run(["ip", "-n", cluster.switch, "address", "add", f"{NETWORK}.2/24", "dev", "br0"], check=True)
    # One connection for all: to agree on its keys is what takes such a machine seconds.
    ssh = (f"nsenter --net=/run/netns/{cluster.switch} ssh -F none -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={directory}/known "
           f"-o KexAlgorithms=curve25519-sha256 -o ControlPath={directory}/ssh")
    os.environ["KUBEPY_SSH"] = ssh
    node = make(cluster, machine.number, f"ssh:root@{machine.address}")
    assert isinstance(node, RemoteNode)
    subprocess.run([*ssh.split(), "-o", "ControlMaster=yes", "-fN", node.target], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=120)
    return node


def pods(cluster: LocalCluster, node: Any = None) -> list[Any]:
    """The running ones that are not being deleted."""
    found = json.loads(cluster.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
            and (node is None or pod["spec"]["nodeName"] == node.name)]


def fetch(cluster: LocalCluster, pod: Any, address: str, times: int) -> set[str]:
    """What a pod gets from an address, asked so many times: the answering pods' names."""
    loop = f"i=0; while [ $i -lt {times} ]; do timeout 5 wget -q -O - http://{address}/{PATH}; echo; i=$((i+1)); done"
    return set(cluster.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", loop).split())


def ready(cluster: LocalCluster, node: Any) -> str:
    conditions = json.loads(cluster.kubectl("get", "node", node.name, "-o", "json"))["status"]["conditions"]
    return next(str(item["status"]) for item in conditions if item["type"] == "Ready")


def starts(cluster: LocalCluster) -> list[int]:
    """How often the pod that stays was restarted, and how often it says that it began."""
    status = json.loads(cluster.kubectl("get", "pod", "stays", "-o", "json"))["status"]["containerStatuses"][0]
    assert status["ready"]
    return [status["restartCount"], len(cluster.kubectl("exec", "stays", "--", "cat", "/notes/starts").split())]


def everyone_answers(cluster: LocalCluster) -> bool:
    """Asked from a pod of each machine, through its proxy, by cluster IP."""
    names = {pod["metadata"]["name"] for pod in pods(cluster)}
    for node in cluster.nodes[1:]:
        seen = fetch(cluster, pods(cluster, node)[0], "10.96.7.7", 40)
        assert seen == names, f"on {node.name} ({MODES[node.number]}) {sorted(seen)} of {sorted(names)} answer"
    return True


def everyone_answers_outside(cluster: LocalCluster) -> bool:
    """Asked from the control plane through each machine's node port."""
    names = {pod["metadata"]["name"] for pod in pods(cluster)}
    for node in cluster.nodes[1:]:
        command = f"for i in $(seq 40); do curl -s --max-time 5 http://{node.address}:30081/{PATH}; done"
        seen = set(cluster.nodes[0].run("sh", "-c", command, check=False).split())
        assert seen == names, f"through {node.name} ({MODES[node.number]}) {sorted(seen)} of {sorted(names)} answer"
    return True


@pytest.mark.skipif(SSHD is None, reason="another host over SSH is NOT tested: the package openssh-server is not installed")
def test_one_of_them_is_reached_by_ssh_alone(virtual: LocalCluster) -> None:
    node = virtual.nodes[2]
    assert isinstance(node, RemoteNode)
    assert node.run("sh", "-c", 'printf "%s|" "$0" "$(cat)"', "two  words", input="given") == "two  words|given|"
    assert ready(virtual, node) == "True"
    assert '"Kubelet started"' in node.logs()
    with pytest.raises(Failed, match="ended with 3"):
        node.run("sh", "-c", "exit 3")


def test_two_machines_join_run_pods_answer_through_ipvs_and_iptables_and_one_is_lost_and_comes_back(virtual: LocalCluster) -> None:
    first, ipvs, iptables = virtual.nodes
    assert isinstance(ipvs, VirtualNode)
    if not ipvs.machine.running:  # an attempt before this one has broken off
        ipvs.boot()
        ipvs.kubepy("up", f"--data-dir={ipvs.data}", timeout=300, check=False)
    eventually("both machines are ready", lambda: all(ready(virtual, node) == "True" for node in (ipvs, iptables)), 240, 1)
    virtual.kubectl("delete", "deployment,service", "web", "--ignore-not-found")  # of an attempt before this one
    eventually("nothing is left", lambda: not pods(virtual), 240, 1)
    virtual.kubectl("delete", "pod", "stays", "--ignore-not-found")
    virtual.kubectl("apply", "-f", "-", input=STAYS.format(node=ipvs.name))
    virtual.kubectl("apply", "-f", "-", input=WEB)
    virtual.kubectl("rollout", "status", "deployment/web", "--timeout=150s", timeout=170)
    assert len(pods(virtual, ipvs)) == len(pods(virtual, iptables)) == 2
    eventually("the pod that stays runs", lambda: starts(virtual) == [0, 1], 240, 1)

    eventually("every pod answers on both machines", lambda: everyone_answers(virtual), 240, 1)
    assert "10.96.7.7" in ipvs.run("sh", "-c", "ip addr show kube-ipvs0")
    assert "KUBE-SVC-" not in ipvs.run("iptables-save")
    assert "KUBE-SVC-" in iptables.run("iptables-save")
    for node in (ipvs, iptables):
        url = f"http://{node.address}:30081/{PATH}"
        eventually("its port answers", lambda: first.run("curl", "-s", "--max-time", "10", url).strip() in {
            pod["metadata"]["name"] for pod in pods(virtual)}, 240, 1)

    # The kernel of its own has control groups of version 2 alone: limits are there, and what is used is known.
    eventually("limits are in force", lambda: str(60 << 20) in ipvs.run(
        "sh", "-c", "cat $(find /sys/fs/cgroup -path '*burstable*' -name memory.max)", check=False).split(), 240, 1)
    eventually("the pods' memory is measured", lambda: '"workingSetBytes":' in virtual.kubectl(
        "get", "--raw", f"/api/v1/nodes/{ipvs.name}/proxy/stats/summary"), 240, 2)

    before = {pod["metadata"]["name"] for pod in pods(virtual, ipvs)}
    ipvs.run("sync")  # images that are not on the disk yet are lost with the power: that is the file system's affair, and containerd's
    ipvs.cut_power()
    eventually("the node is not ready", lambda: ready(virtual, ipvs) == "Unknown", 240, 1)
    eventually("all pods run on the other machine", lambda: len(pods(virtual, iptables)) == 4 and not pods(virtual, ipvs), 240, 2)
    names = {pod["metadata"]["name"] for pod in pods(virtual)}
    eventually("no other answers", lambda: fetch(virtual, pods(virtual, iptables)[0], "10.96.7.7", 6) <= names, 240, 1)

    ipvs.boot()
    print(ipvs.kubepy("up", f"--data-dir={ipvs.data}", timeout=300, check=False))  # where it takes its time: what counts is below
    eventually("the node is ready", lambda: ready(virtual, ipvs) == "True", 240, 1)
    eventually("its pods of before are gone", lambda: not before & {
        pod["metadata"]["name"] for pod in json.loads(virtual.kubectl("get", "pods", "-o", "json"))["items"]}, 240, 2)
    eventually("the pod that stayed has started again", lambda: starts(virtual) == [1, 2], 240, 2)
    virtual.kubectl("scale", "deployment/web", "--replicas=6")
    virtual.kubectl("rollout", "status", "deployment/web", "--timeout=150s", timeout=170)
    eventually("some are there", lambda: pods(virtual, ipvs), 240, 1)
    eventually("every pod answers through both machines", lambda: everyone_answers_outside(virtual), 240, 1)
