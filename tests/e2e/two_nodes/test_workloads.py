"""Workloads across nodes: volumes on the node a pod was placed on, and daemons on a node that joins."""
from __future__ import annotations

import json
from typing import Any

from deploy.local_cluster import LocalCluster
from tests import images
from tests.e2e.cluster import eventually

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


def get(cluster: LocalCluster, *arguments: str) -> Any:
    return json.loads(cluster.kubectl("get", *arguments, "-o", "json"))


def daemons(cluster: LocalCluster) -> list[str]:
    """The nodes on which the daemon is ready."""
    return sorted(pod["spec"]["nodeName"] for pod in get(cluster, "pods", "-l", "app=agent")["items"]
                  if pod["status"].get("containerStatuses", [{}])[0].get("ready") and "deletionTimestamp" not in pod["metadata"])


def test_a_volume_is_a_directory_of_the_node_the_pod_is_placed_on(two_nodes: LocalCluster) -> None:
    far = two_nodes.nodes[1]
    for name in ("one", "two"):  # the second pod follows the data
        two_nodes.kubectl("apply", "-f", "-", input=CLAIM.replace("POD", name).replace("NODE", far.name))
        two_nodes.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        if name == "one":
            two_nodes.kubectl("delete", "pod", "one")
    assert two_nodes.kubectl("exec", "two", "--", "cat", "/data/x") == "one\ntwo\n"
    volume = get(two_nodes, "pv", get(two_nodes, "pvc", "far")["spec"]["volumeName"])
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == [far.name]
    path = volume["spec"]["hostPath"]["path"]
    assert far.run("cat", f"{path}/x") == "one\ntwo\n"
    two_nodes.kubectl("delete", "pod/two", "pvc/far")
    eventually("the node's kubelet has removed it", lambda: "gone" in far.run("sh", "-c", f"test -e {path} || echo gone"), 60)
    eventually("the volume is gone", lambda: not get(two_nodes, "pv")["items"], 60)


def test_a_node_that_joins_gets_its_daemon(two_nodes: LocalCluster) -> None:
    """Last: the node leaves the cluster and joins it anew."""
    first, second = two_nodes.nodes
    two_nodes.kubectl("apply", "-f", "-", input=AGENT)
    eventually("a daemon on each node", lambda: daemons(two_nodes) == sorted((first.name, second.name)), 60)
    second.kubepy("node", "reset", f"--data-dir={second.data}")
    two_nodes.kubectl("delete", "node", second.name, "--ignore-not-found")
    eventually("one daemon is left", lambda: get(two_nodes, "daemonset", "agent")["status"]["desiredNumberScheduled"] == 1, 60)
    two_nodes.join(second)
    for archive in images.archives().values():
        two_nodes.import_image(archive)
    eventually("a daemon on the node that joined", lambda: daemons(two_nodes) == sorted((first.name, second.name)), 90)
    two_nodes.kubectl("delete", "daemonset", "agent")
