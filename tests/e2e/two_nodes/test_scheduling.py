"""Scheduling on two real nodes, and what the conformance suite demands of it.

| conformance test (sig-scheduling) | shown by |
| --- | --- |
| LimitRange: defaults applied to pods | test_limit_ranges_give_defaults_and_go_by_collection |
| LimitRange: list, patch, delete by collection | test_limit_ranges_give_defaults_and_go_by_collection |
| resource limits of pods that are allowed to run | test_pods_go_where_they_may ("full", "huge") |
| NodeSelector respected if matching / if not matching | test_pods_go_where_they_may ("selected", "nowhere") |
| same hostPort and protocol, one on 0.0.0.0 | test_pods_go_where_they_may ("port-any") |
| PreemptionExecutionPath: ReplicaSets of four priorities | test_replica_sets_of_four_priorities |
| PriorityClass endpoints | test_priority_classes_change_but_for_their_value |
| basic preemption | test_preemption_takes_the_least |
| preemption by a critical pod | test_preemption_takes_the_least |
| disruption condition on the preempted pod | test_preemption_takes_the_least |
"""
from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local_cluster import Failed, LocalCluster
from kubepy.kubelet.pause import PAUSE_IMAGE
from tests.e2e.cluster import eventually

NAMESPACE = "placing"
FOO = "example.com/foo"
FINALIZER = "example.com/stay"


def get(cluster: LocalCluster, *arguments: str) -> Any:
    return json.loads(cluster.kubectl("get", "-n", NAMESPACE, *arguments, "-o", "json"))


def apply(cluster: LocalCluster, *objects: Any) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def pod(name: str, requests: dict[str, str] | None = None, labels: dict[str, str] | None = None, ports: Any = (), metadata: Any = None,
        namespace: str = NAMESPACE, **spec: Any) -> Any:
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}, **(metadata or {})},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                "name": "c", "image": PAUSE_IMAGE, "imagePullPolicy": "Never", "ports": list(ports),
                "resources": {"requests": requests or {}, "limits": {k: v for k, v in (requests or {}).items() if "/" in k}}}], **spec}}


def placed(cluster: LocalCluster, *selector: str) -> dict[str, str]:
    """Pod -> node, "" where it has none; pods that go are left out."""
    return {item["metadata"]["name"]: item["spec"].get("nodeName", "") for item in get(cluster, "pods", *selector)["items"]
            if "deletionTimestamp" not in item["metadata"]}


def refusals(cluster: LocalCluster) -> dict[str, str]:
    """Pod -> what its PodScheduled condition says, where that is false."""
    return {item["metadata"]["name"]: f"{condition['reason']}: {condition.get('message', '')}" for item in get(cluster, "pods")["items"]
            for condition in item["status"].get("conditions") or ()
            if (condition["type"], condition["status"]) == ("PodScheduled", "False")}


def clear(cluster: LocalCluster) -> None:
    cluster.kubectl("delete", "pods,replicasets,pdb,resourceclaims,resourceclaimtemplates", "--all", "-n", NAMESPACE, "--grace-period=0",
                    "--force", "--wait=true", "--timeout=60s")


def on(key: str, *values: str) -> Any:
    return {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}]}


def beside(app: str) -> Any:
    return [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}]


@pytest.fixture(scope="module", autouse=True)
def prepared(two_nodes: LocalCluster) -> Iterator[None]:
    """Zones a and b, five foos on each node, and classes of priorities."""
    two_nodes.kubectl("create", "namespace", NAMESPACE)
    for node, zone in zip(two_nodes.nodes, "ab", strict=True):
        two_nodes.kubectl("label", "node", node.name, f"place={zone}")
        two_nodes.kubectl("patch", "node", node.name, "--subresource=status", "--type=merge", "-p",
                          json.dumps({"status": {"capacity": {FOO: "5"}, "allocatable": {FOO: "5"}}}))
    apply(two_nodes, *({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": f"p{number}"}, "value": number}
                       for number in (1, 2, 3, 4)),
          {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "polite"}, "value": 2,
           "preemptionPolicy": "Never"})
    eventually("the default account is there", lambda: get(two_nodes, "serviceaccount", "default"))
    yield
    two_nodes.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    two_nodes.kubectl("delete", "priorityclass", "p1", "p2", "p3", "p4", "polite")


@pytest.fixture(autouse=True)
def cleared(two_nodes: LocalCluster) -> Iterator[None]:
    """Each test finds an empty namespace."""
    yield
    for item in get(two_nodes, "pods")["items"]:
        if FINALIZER in item["metadata"].get("finalizers", ()):
            two_nodes.kubectl("patch", "pod", item["metadata"]["name"], "-n", NAMESPACE, "--type=merge", "-p",
                              '{"metadata": {"finalizers": null}}')
    clear(two_nodes)


def test_pods_go_where_they_may(two_nodes: LocalCluster) -> None:
    """Selectors, affinity, spreading, host ports, extended resources, capacity and gates, all at once."""
    a, b = (node.name for node in two_nodes.nodes)
    spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
               "labelSelector": {"matchLabels": {"group": "even"}}}]
    port = {"containerPort": 80, "hostPort": 54321}
    in_a = {"nodeSelector": {"place": "a"}}
    apply(two_nodes,
          pod("selected", nodeSelector={"place": "b"}), pod("nowhere", nodeSelector={"place": "c"}),
          pod("required", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": on("place", "a")}}),
          pod("preferred", affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
              {"weight": 100, "preference": on("place", "b")["nodeSelectorTerms"][0]}]}}),
          pod("near", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": beside("selected")}}),
          pod("apart", affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": beside("selected")}}),
          *(pod(f"even-{number}", labels={"group": "even"}, topologySpreadConstraints=spread) for number in range(4)),
          pod("port-own", ports=[{**port, "hostIP": "127.0.0.1"}], **in_a), pod("port-udp", ports=[{**port, "protocol": "UDP"}], **in_a),
          pod("huge", {"cpu": "1000"}), pod("foo-1", {FOO: "3"}), pod("foo-2", {FOO: "3"}),
          pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
    settled = {"selected": b, "nowhere": "", "required": a, "preferred": b, "near": b, "apart": a, "port-own": a, "port-udp": a, "huge": "",
               "gated": ""}

    def decided() -> bool:
        found = placed(two_nodes)
        return settled.items() <= found.items() and found["foo-1"] != found["foo-2"] and all((found["foo-1"], found["foo-2"]))
    eventually("all are placed", decided, 60)
    found = placed(two_nodes)
    assert Counter(found[f"even-{number}"] for number in range(4)) == {a: 2, b: 2}

    apply(two_nodes, pod("port-any", ports=[{**port, "hostIP": "0.0.0.0"}], **in_a), pod("foo-3", {FOO: "3"}))
    eventually("the rest is refused", lambda: {"port-any", "foo-3", "huge", "nowhere", "gated"} <= refusals(two_nodes).keys())
    said = refusals(two_nodes)
    assert said["port-any"].startswith("Unschedulable: 0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod "
                                       "ports, 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, ")
    assert said["nowhere"] == ("Unschedulable: 0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims "
                               "to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")
    assert said["huge"].startswith("Unschedulable: 0/2 nodes are available: 2 Insufficient cpu. ")
    assert said["foo-3"] == ("Unschedulable: 0/2 nodes are available: 2 Insufficient example.com/foo. no new claims to deallocate, "
                             "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.")
    assert said["gated"].startswith("SchedulingGated: ")
    two_nodes.kubectl("patch", "pod", "gated", "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"schedulingGates": null}}')
    two_nodes.kubectl("delete", "pod", "foo-1", "-n", NAMESPACE, "--grace-period=0", "--force")
    two_nodes.kubectl("label", "node", b, "place=c", "--overwrite")
    try:
        eventually("what held them back is gone", lambda: all((found := placed(two_nodes))[name] for name in ("gated", "foo-3"))
                   and found["nowhere"] == b, 60)
    finally:
        two_nodes.kubectl("label", "node", b, "place=b", "--overwrite")

    allocatable = get(two_nodes, "node", a)["status"]["allocatable"]["cpu"]
    apply(two_nodes, pod("full", {"cpu": str(int(allocatable) * 2 // 3)}, **in_a), pod("fuller", {"cpu": str(int(allocatable))}, **in_a))
    eventually("one of them fits", lambda: sum(bool(placed(two_nodes)[name]) for name in ("full", "fuller")) == 1)
    eventually("the other does not", lambda: any("1 Insufficient cpu, 1 node(s) didn't match" in refusals(two_nodes).get(name, "")
                                                 for name in ("full", "fuller")))
    running = {"selected", "required", "near", "apart", "gated", "foo-3", "even-0", "even-1", "even-2", "even-3"}
    eventually("they run", lambda: running <= {item["metadata"]["name"] for item in get(two_nodes, "pods")["items"]
                                               if item["status"]["phase"] == "Running"}, 60)

    manifest = json.dumps(pod("what-if", {FOO: "1"}))
    first = two_nodes.nodes[0]
    explained = json.loads(first.run("sh", "-c", f"echo '{manifest}' | {sys.executable} -m kubepy.cli.main explain-scheduling -f - -o json "
                                                 f"--without {b} --data-dir={first.data}"))
    assert {entry["name"]: entry["feasible"] for entry in explained["nodes"]} == {a: True, b: False}


def test_a_taint_drives_pods_off_after_the_time_they_tolerate_it(two_nodes: LocalCluster) -> None:
    _, node = two_nodes.nodes
    here = {"nodeSelector": {"place": "b"}}
    tolerates = {"key": "example.com/evil", "operator": "Exists", "effect": "NoExecute"}
    apply(two_nodes, pod("leaves", **here), pod("stays", tolerations=[tolerates], **here),
          pod("stays-a-while", tolerations=[{**tolerates, "tolerationSeconds": 12}], **here))
    eventually("all run", lambda: len([item for item in get(two_nodes, "pods")["items"] if item["status"]["phase"] == "Running"]) == 3, 60)
    two_nodes.kubectl("taint", "node", node.name, "example.com/evil=yes:NoExecute")
    try:
        eventually("the first is gone", lambda: "leaves" not in placed(two_nodes), 30, 0.2)
        assert {"stays", "stays-a-while"} <= placed(two_nodes).keys()
        apply(two_nodes, pod("refused", **here))
        eventually("the second follows", lambda: set(placed(two_nodes)) == {"stays", "refused"}, 60)
        eventually("none comes", lambda: "1 node(s) had untolerated taint" in refusals(two_nodes).get("refused", ""))
    finally:
        two_nodes.kubectl("taint", "node", node.name, "example.com/evil-")
    eventually("it may come now", lambda: placed(two_nodes)["refused"] == node.name)


def test_preemption_takes_the_least(two_nodes: LocalCluster) -> None:
    """The lowest priority goes, but rather one that no budget protects; it is told why, and a critical pod may push any other."""
    a, b = (node.name for node in two_nodes.nodes)
    at = {zone: {"nodeSelector": {"place": zone}} for zone in "ab"}
    held = {"finalizers": [FINALIZER]}
    apply(two_nodes, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guard", "namespace": NAMESPACE},
                      "spec": {"minAvailable": 1, "selector": {"matchLabels": {"guarded": "yes"}}}},
          pod("low-guarded", {FOO: "5"}, labels={"guarded": "yes"}, priorityClassName="p1", **at["a"]),
          pod("low", {FOO: "5"}, priorityClassName="p1", metadata=held, **at["b"]))
    eventually("they run", lambda: len([item for item in get(two_nodes, "pods")["items"] if item["status"]["phase"] == "Running"]) == 2, 60)
    eventually("the budget counts", lambda: get(two_nodes, "pdb", "guard")["status"].get("currentHealthy") == 1
               and not get(two_nodes, "pdb", "guard")["status"].get("disruptionsAllowed"))
    apply(two_nodes, pod("never", {FOO: "5"}, priorityClassName="polite"))
    eventually("one that may not preempt waits",
               lambda: refusals(two_nodes).get("never", "").endswith("preemption: not eligible due to preemptionPolicy=Never."))
    two_nodes.kubectl("delete", "pod", "never", "-n", NAMESPACE, "--grace-period=0", "--force")
    apply(two_nodes, pod("middle", {FOO: "5"}, priorityClassName="p2"))
    victim = eventually("the unguarded one goes", lambda: found if "deletionTimestamp" in (
        found := get(two_nodes, "pod", "low"))["metadata"] else None)
    [condition] = [c for c in victim["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    assert (condition["status"], condition["reason"]) == ("True", "PreemptionByScheduler")
    assert condition["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    middle = get(two_nodes, "pod", "middle")
    assert middle["status"].get("nominatedNodeName") == b or middle["spec"].get("nodeName") == b
    two_nodes.kubectl("patch", "pod", "low", "-n", NAMESPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    eventually("it takes the place", lambda: placed(two_nodes) == {"low-guarded": a, "middle": b}, 60)
    event = eventually("and says so", lambda: [e for e in get(two_nodes, "events")["items"] if e["reason"] == "Preempted"])
    assert event[0]["message"] == f"Preempted by pod {middle['metadata']['uid']} on node {b}"

    critical = pod("critical", {FOO: "5"}, priorityClassName="system-cluster-critical", namespace="kube-system", **at["b"])
    apply(two_nodes, critical)
    try:
        eventually("the critical one runs", lambda: json.loads(two_nodes.kubectl(
            "get", "pod", "critical", "-n", "kube-system", "-o", "json"))["status"]["phase"] == "Running", 60)
        assert set(placed(two_nodes)) == {"low-guarded"}
    finally:
        two_nodes.kubectl("delete", "pod", "critical", "-n", "kube-system", "--grace-period=0", "--force")
    apply(two_nodes, pod("all", {FOO: "5"}, priorityClassName="p3", **at["a"]))
    eventually("no budget holds where nothing else helps", lambda: placed(two_nodes) == {"all": a}, 60)


def test_replica_sets_of_four_priorities(two_nodes: LocalCluster) -> None:
    """Five foos: sets of priorities 1, 2 and 3 take them all; one of priority 4 needs two, which the lowest give up."""
    def replicas(number: int, count: int, foos: str) -> Any:
        one = pod("x", {FOO: foos}, labels={"set": f"rs{number}"}, priorityClassName=f"p{number}", nodeSelector={"place": "a"})
        return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": f"rs{number}", "namespace": NAMESPACE}, "spec": {
            "replicas": count, "selector": {"matchLabels": {"set": f"rs{number}"}},
            "template": {"metadata": {"labels": {"set": f"rs{number}"}}, "spec": one["spec"]}}}

    def bound() -> dict[str, int]:
        return dict(Counter(name[:3] for name, node in placed(two_nodes).items() if node))
    apply(two_nodes, replicas(1, 2, "1"), replicas(2, 2, "1"), replicas(3, 1, "1"))
    eventually("three sets are there", lambda: bound() == {"rs1": 2, "rs2": 2, "rs3": 1}, 60)
    apply(two_nodes, replicas(4, 1, "2"))
    eventually("the fourth took from the first", lambda: bound() == {"rs2": 2, "rs3": 1, "rs4": 1}, 60)
    eventually("which wants its own back", lambda: get(two_nodes, "rs", "rs1")["status"]["replicas"] == 2)
    assert bound() == {"rs2": 2, "rs3": 1, "rs4": 1}


def test_devices_come_from_a_template(two_nodes: LocalCluster) -> None:
    """The controller makes the claim, the scheduler allocates it on the node with the device and reserves it for the pod."""
    node = two_nodes.nodes[1].name
    group = "resource.k8s.io/v1"
    apply(two_nodes, {"apiVersion": group, "kind": "DeviceClass", "metadata": {"name": "gpu"}, "spec": {}},
          {"apiVersion": group, "kind": "ResourceSlice", "metadata": {"name": "gpus"}, "spec": {
              "driver": "gpu.example.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
              "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "x"}}}]}},
          {"apiVersion": group, "kind": "ResourceClaimTemplate", "metadata": {"name": "one", "namespace": NAMESPACE}, "spec": {"spec": {
              "devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "selectors": [
                  {"cel": {"expression": 'device.attributes["gpu.example.com"].model == "x"'}}]}}]}}}},
          pod("first", resourceClaims=[{"name": "g", "resourceClaimTemplateName": "one"}]))
    try:
        eventually("the first has it", lambda: placed(two_nodes)["first"] == node, 60)
        [claim] = get(two_nodes, "resourceclaims")["items"]
        assert [entry["name"] for entry in claim["status"]["reservedFor"]] == ["first"]
        assert claim["status"]["allocation"]["devices"]["results"][0]["device"] == "gpu-0"
        apply(two_nodes, pod("second", resourceClaims=[{"name": "g", "resourceClaimTemplateName": "one"}]))
        eventually("there is none for another", lambda: "2 cannot allocate all claims" in refusals(two_nodes).get("second", ""), 60)
        two_nodes.kubectl("delete", "pod", "first", "-n", NAMESPACE, "--grace-period=0", "--force")
        eventually("until it is given back", lambda: placed(two_nodes)["second"] == node, 60)
    finally:
        two_nodes.kubectl("delete", "resourceslice/gpus", "deviceclass/gpu")


def test_limit_ranges_give_defaults_and_go_by_collection(two_nodes: LocalCluster) -> None:
    def ranges(name: str, cpu: str) -> Any:
        return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"range": name}},
                "spec": {"limits": [{"type": "Container", "min": {"cpu": "10m"}, "max": {"cpu": "800m"}, "default": {"cpu": cpu},
                                     "defaultRequest": {"cpu": "20m"}}]}}
    apply(two_nodes, ranges("one", "300m"))
    apply(two_nodes, pod("defaulted"), pod("partly", {"cpu": "50m"}))
    found = {name: get(two_nodes, "pod", name)["spec"]["containers"][0]["resources"] for name in ("defaulted", "partly")}
    assert found["defaulted"] == {"requests": {"cpu": "20m"}, "limits": {"cpu": "300m"}}
    assert found["partly"] == {"requests": {"cpu": "50m"}, "limits": {"cpu": "300m"}}
    with pytest.raises(Failed, match="minimum cpu usage per Container is 10m, but request is 5m"):
        apply(two_nodes, pod("small", {"cpu": "5m"}))
    apply(two_nodes, ranges("two", "400m"))
    two_nodes.kubectl("patch", "limitrange", "one", "-n", NAMESPACE, "--type=merge", "-p", '{"metadata": {"labels": {"patched": "yes"}}}')
    listed = json.loads(two_nodes.kubectl("get", "limitrange", "-A", "-l", "patched=yes", "-o", "json"))["items"]
    assert [item["metadata"]["name"] for item in listed] == ["one"]
    two_nodes.kubectl("delete", "limitrange", "-n", NAMESPACE, "-l", "range=one")
    assert [item["metadata"]["name"] for item in get(two_nodes, "limitrange")["items"]] == ["two"]
    two_nodes.kubectl("delete", "limitrange", "-n", NAMESPACE, "--all")


def test_priority_classes_change_but_for_their_value(two_nodes: LocalCluster) -> None:
    two_nodes.kubectl("patch", "priorityclass", "p1", "--type=merge", "-p", '{"description": "changed"}')
    assert get(two_nodes, "priorityclass", "p1")["description"] == "changed"
    with pytest.raises(Failed, match="may not be changed in an update"):
        two_nodes.kubectl("patch", "priorityclass", "p1", "--type=merge", "-p", '{"value": 7}')
    names = {item["metadata"]["name"] for item in get(two_nodes, "priorityclass")["items"]}
    assert {"p1", "p2", "p3", "p4", "system-cluster-critical", "system-node-critical"} <= names
