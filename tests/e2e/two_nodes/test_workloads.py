"""Workloads across nodes: volumes on the node a pod was placed on, and daemons on a node that joins."""
from __future__ import annotations

from deploy.local_cluster import LocalCluster
from tests import images
from tests.e2e.cluster import eventually
from tests.e2e.space import Space

CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: far}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: POD}
spec:
  nodeSelector: {kubernetes.io/hostname: NODE}
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: "localhost/kubepy/echo:1", imagePullPolicy: Never, command: [sh, -c, "echo POD >>/data/x; exec sleep 3600"],
     volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: far}}]
"""
AGENT = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "localhost/kubepy/echo:1", imagePullPolicy: Never}]
"""


def daemons(space: Space) -> list[str]:
    """The nodes on which the daemon is ready."""
    return sorted(pod["spec"]["nodeName"] for pod in space.get("pods", "-l", "app=agent")["items"]
                  if pod["status"].get("containerStatuses", [{}])[0].get("ready") and "deletionTimestamp" not in pod["metadata"])


def test_a_volume_is_a_directory_of_the_node_the_pod_is_placed_on(two_nodes: LocalCluster, space: Space) -> None:
    far = two_nodes.nodes[1]
    for name in ("one", "two"):  # the second pod follows the data
        space.kubectl("apply", "-f", "-", input=CLAIM.replace("POD", name).replace("NODE", far.name))
        space.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=150s")
        eventually("it has written", lambda: name in space.kubectl("exec", name, "--", "cat", "/data/x"))
        if name == "one":
            space.kubectl("delete", "pod", "one")
    assert space.kubectl("exec", "two", "--", "cat", "/data/x") == "one\ntwo\n"
    volume = space.get("pv", space.get("pvc", "far")["spec"]["volumeName"])
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == [far.name]
    path = volume["spec"]["hostPath"]["path"]
    assert far.run("cat", f"{path}/x") == "one\ntwo\n"
    space.kubectl("delete", "pod/two", "pvc/far")
    eventually("the node's kubelet has removed it", lambda: "gone" in far.run("sh", "-c", f"test -e {path} || echo gone"))
    name = volume["metadata"]["name"]
    eventually("the volume is gone", lambda: name not in space.kubectl("get", "pv", "-o", "name"))


def join(cluster: LocalCluster) -> None:
    """The second node joins, with the images that it needs."""
    cluster.join(cluster.nodes[1])
    for archive in images.archives().values():
        cluster.nodes[1].import_image(archive)


def test_a_node_that_joins_gets_its_daemon(two_nodes: LocalCluster, space: Space) -> None:
    """Last: the node leaves the cluster and joins it anew."""
    first, second = two_nodes.nodes
    if second.name not in two_nodes.kubectl("get", "nodes", "-o", "name"):
        join(two_nodes)  # an attempt before this one has broken off
    space.kubectl("apply", "-f", "-", input=AGENT)
    eventually("a daemon on each node", lambda: daemons(space) == sorted((first.name, second.name)))
    second.kubepy("node", "reset", f"--data-dir={second.data}")
    two_nodes.kubectl("delete", "node", second.name, "--ignore-not-found")
    eventually("one daemon is left", lambda: space.get("daemonset", "agent")["status"]["desiredNumberScheduled"] == 1)
    join(two_nodes)
    eventually("a daemon on the node that joined", lambda: daemons(space) == sorted((first.name, second.name)))
