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
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local_cluster import Failed, LocalCluster
from kubepy.kubelet.pause import PAUSE_IMAGE
from tests.e2e.cluster import eventually
from tests.e2e.space import Space

FOO = "example.com/foo"
FINALIZER = "example.com/stay"


def pod(name: str, requests: dict[str, str] | None = None, labels: dict[str, str] | None = None, ports: Any = (), metadata: Any = None,
        **spec: Any) -> Any:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name, **(labels or {})}, **(metadata or {})},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                "name": "c", "image": PAUSE_IMAGE, "imagePullPolicy": "Never", "ports": list(ports),
                "resources": {"requests": requests or {}, "limits": {k: v for k, v in (requests or {}).items() if "/" in k}}}], **spec}}


def placed(space: Space, *selector: str) -> dict[str, str]:
    """Pod -> node, "" where it has none; pods that go are left out."""
    return {item["metadata"]["name"]: item["spec"].get("nodeName", "") for item in space.get("pods", *selector)["items"]
            if "deletionTimestamp" not in item["metadata"]}


def running(space: Space) -> set[str]:
    return {item["metadata"]["name"] for item in space.get("pods")["items"] if item["status"]["phase"] == "Running"}


def refusals(space: Space) -> dict[str, str]:
    """Pod -> what its PodScheduled condition says, where that is false."""
    return {item["metadata"]["name"]: f"{condition['reason']}: {condition.get('message', '')}" for item in space.get("pods")["items"]
            for condition in item["status"].get("conditions") or ()
            if (condition["type"], condition["status"]) == ("PodScheduled", "False")}


def refused(space: Space, name: str, why: str) -> None:
    """Waits until a pod's condition begins so: it may say something else until all that it depends on is known."""
    def says() -> bool:
        said = refusals(space).get(name, "nothing")
        assert said.startswith(why), said
        return True
    eventually(f"{name} is refused", says)


def on(key: str, *values: str) -> Any:
    return {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}]}


def beside(app: str) -> Any:
    return [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}]


@pytest.fixture(scope="module", autouse=True)
def prepared(two_nodes: LocalCluster) -> Iterator[None]:
    """Zones a and b, five foos on each node, and classes of priorities."""
    for node, zone in zip(two_nodes.nodes, "ab", strict=True):
        two_nodes.kubectl("label", "node", node.name, f"place={zone}", "--overwrite")
        two_nodes.kubectl("patch", "node", node.name, "--subresource=status", "--type=merge", "-p",
                          json.dumps({"status": {"capacity": {FOO: "5"}, "allocatable": {FOO: "5"}}}))
    classes = [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": f"p{number}"}, "value": number}
               for number in (1, 2, 3, 4)]
    classes += [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "polite"}, "value": 2,
                 "preemptionPolicy": "Never"}]
    two_nodes.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": classes}))
    yield
    two_nodes.kubectl("delete", "priorityclass", "p1", "p2", "p3", "p4", "polite")


@pytest.fixture(autouse=True)
def cleared(space: Space) -> Iterator[None]:
    """What a test took of the nodes is free again when it ends."""
    yield
    for item in space.get("pods")["items"]:
        if FINALIZER in item["metadata"].get("finalizers", ()):
            space.kubectl("patch", "pod", item["metadata"]["name"], "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    space.kubectl("delete", "pods,replicasets,pdb,resourceclaims,resourceclaimtemplates", "--all", "--grace-period=0", "--force",
                  "--timeout=150s")


def test_pods_go_where_they_may(two_nodes: LocalCluster, space: Space) -> None:
    """Selectors, affinity, spreading, host ports, extended resources, capacity and gates, all at once."""
    a, b = (node.name for node in two_nodes.nodes)
    spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
               "labelSelector": {"matchLabels": {"group": "even"}}}]
    port = {"containerPort": 80, "hostPort": 54321}
    in_a = {"nodeSelector": {"place": "a"}}
    space.apply(
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
        found = placed(space)
        return settled.items() <= found.items() and found["foo-1"] != found["foo-2"] and all((found["foo-1"], found["foo-2"]))
    eventually("all are placed", decided)
    found = placed(space)
    assert Counter(found[f"even-{number}"] for number in range(4)) == {a: 2, b: 2}

    space.apply(pod("port-any", ports=[{**port, "hostIP": "0.0.0.0"}], **in_a), pod("foo-3", {FOO: "3"}))
    refused(space, "port-any", "Unschedulable: 0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 "
                               "node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, ")
    refused(space, "nowhere", "Unschedulable: 0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims "
                              "to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")
    refused(space, "huge", "Unschedulable: 0/2 nodes are available: 2 Insufficient cpu. ")
    refused(space, "foo-3", "Unschedulable: 0/2 nodes are available: 2 Insufficient example.com/foo. no new claims to deallocate, "
                            "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.")
    refused(space, "gated", "SchedulingGated: ")
    space.kubectl("patch", "pod", "gated", "--type=merge", "-p", '{"spec": {"schedulingGates": null}}')
    space.kubectl("delete", "pod", "foo-1", "--grace-period=0", "--force")
    two_nodes.kubectl("label", "node", b, "place=c", "--overwrite")
    try:
        eventually("what held them back is gone", lambda: all((found := placed(space))[name] for name in ("gated", "foo-3"))
                   and found["nowhere"] == b)
    finally:
        two_nodes.kubectl("label", "node", b, "place=b", "--overwrite")

    allocatable = space.get("node", a)["status"]["allocatable"]["cpu"]
    space.apply(pod("full", {"cpu": str(int(allocatable) * 2 // 3)}, **in_a), pod("fuller", {"cpu": str(int(allocatable))}, **in_a))
    eventually("one of them fits", lambda: sum(bool(placed(space)[name]) for name in ("full", "fuller")) == 1)
    eventually("the other does not", lambda: any("1 Insufficient cpu, 1 node(s) didn't match" in refusals(space).get(name, "")
                                                 for name in ("full", "fuller")))
    eventually("they run", lambda: {"selected", "required", "near", "apart", "gated", "foo-3", "even-0", "even-1", "even-2",
                                    "even-3"} <= running(space))

    manifest = json.dumps(pod("what-if", {FOO: "1"}))
    first = two_nodes.nodes[0]
    explained = json.loads(first.run("sh", "-c", f"echo '{manifest}' | {sys.executable} -m kubepy.cli.main explain-scheduling -f - -o json "
                                                 f"--without {b} --data-dir={first.data}"))
    assert {entry["name"]: entry["feasible"] for entry in explained["nodes"]} == {a: True, b: False}


def test_a_taint_drives_pods_off_after_the_time_they_tolerate_it(two_nodes: LocalCluster, space: Space) -> None:
    _, node = two_nodes.nodes
    here = {"nodeSelector": {"place": "b"}}
    tolerates = {"key": "example.com/evil", "operator": "Exists", "effect": "NoExecute"}
    space.apply(pod("leaves", **here), pod("stays", tolerations=[tolerates], **here),
                pod("stays-a-while", tolerations=[{**tolerates, "tolerationSeconds": 12}], **here))
    eventually("all run", lambda: len(running(space)) == 3)
    began = time.monotonic()
    two_nodes.kubectl("taint", "node", node.name, "example.com/evil=yes:NoExecute", "--overwrite")
    try:
        eventually("the first is gone", lambda: "leaves" not in placed(space), every=0.2)
        left = placed(space).keys()
        assert "stays" in left
        assert "stays-a-while" in left or time.monotonic() - began > 10
        space.apply(pod("refused", **here))
        eventually("the second follows", lambda: set(placed(space)) == {"stays", "refused"})
        assert time.monotonic() - began > 10
        eventually("none comes", lambda: "1 node(s) had untolerated taint" in refusals(space)["refused"])
    finally:
        two_nodes.kubectl("taint", "node", node.name, "example.com/evil-")
    eventually("it may come now", lambda: placed(space)["refused"] == node.name)


def test_preemption_takes_the_least(two_nodes: LocalCluster, space: Space) -> None:
    """The lowest priority goes, but rather one that no budget protects; it is told why, and a critical pod may push any other."""
    a, b = (node.name for node in two_nodes.nodes)
    at = {zone: {"nodeSelector": {"place": zone}} for zone in "ab"}
    space.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guard"},
                 "spec": {"minAvailable": 1, "selector": {"matchLabels": {"guarded": "yes"}}}},
                pod("low-guarded", {FOO: "5"}, labels={"guarded": "yes"}, priorityClassName="p1", **at["a"]),
                pod("low", {FOO: "5"}, priorityClassName="p1", metadata={"finalizers": [FINALIZER]}, **at["b"]))
    eventually("they run", lambda: len(running(space)) == 2)
    eventually("the budget counts", lambda: (status := space.get("pdb", "guard")["status"])["currentHealthy"] == 1
               and status["disruptionsAllowed"] == 0)
    space.apply(pod("never", {FOO: "5"}, priorityClassName="polite"))
    eventually("one that may not preempt waits",
               lambda: refusals(space)["never"].endswith("preemption: not eligible due to preemptionPolicy=Never."))
    space.kubectl("delete", "pod", "never", "--grace-period=0", "--force")
    space.apply(pod("middle", {FOO: "5"}, priorityClassName="p2"))
    victim = eventually("the unguarded one goes", lambda: found if "deletionTimestamp" in (
        found := space.get("pod", "low"))["metadata"] else None)
    [condition] = [c for c in victim["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    assert (condition["status"], condition["reason"]) == ("True", "PreemptionByScheduler")
    assert condition["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    # Victims are evicted beside the writing of the nomination, as upstream: one may be seen before the other.
    middle = eventually("the other is nominated, or there already", lambda: found if b in (
        (found := space.get("pod", "middle"))["status"].get("nominatedNodeName"), found["spec"].get("nodeName")) else None)
    space.kubectl("patch", "pod", "low", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    eventually("it takes the place", lambda: placed(space) == {"low-guarded": a, "middle": b})
    events = eventually("and says so", lambda: [event["message"] for event in space.get("events")["items"] if (
        event["reason"], event["involvedObject"]["uid"]) == ("Preempted", victim["metadata"]["uid"])])
    assert events == [f"Preempted by pod {middle['metadata']['uid']} on node {b}"]

    critical = f"critical-{space.namespace}"
    obj = pod(critical, {FOO: "5"}, priorityClassName="system-cluster-critical", **at["b"])
    two_nodes.kubectl("apply", "-n", "kube-system", "-f", "-", input=json.dumps(obj))
    try:
        eventually("the critical one runs", lambda: json.loads(two_nodes.kubectl(
            "get", "pod", critical, "-n", "kube-system", "-o", "json"))["status"]["phase"] == "Running")
        assert set(placed(space)) == {"low-guarded"}
    finally:
        two_nodes.kubectl("delete", "pod", critical, "-n", "kube-system", "--grace-period=0", "--force")
    space.apply(pod("all", {FOO: "5"}, priorityClassName="p3", **at["a"]))
    eventually("no budget holds where nothing else helps", lambda: placed(space) == {"all": a})


def test_replica_sets_of_four_priorities(two_nodes: LocalCluster, space: Space) -> None:
    """Five foos: sets of priorities 1, 2 and 3 take them all; one of priority 4 needs two, which the lowest give up."""
    def replicas(number: int, count: int, foos: str) -> Any:
        one = pod("x", {FOO: foos}, labels={"set": f"rs{number}"}, priorityClassName=f"p{number}", nodeSelector={"place": "a"})
        return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": f"rs{number}"}, "spec": {
            "replicas": count, "selector": {"matchLabels": {"set": f"rs{number}"}},
            "template": {"metadata": {"labels": {"set": f"rs{number}"}}, "spec": one["spec"]}}}

    def bound() -> dict[str, int]:
        return dict(Counter(name[:3] for name, node in placed(space).items() if node))
    space.apply(replicas(1, 2, "1"), replicas(2, 2, "1"), replicas(3, 1, "1"))
    eventually("three sets are there", lambda: bound() == {"rs1": 2, "rs2": 2, "rs3": 1})
    space.apply(replicas(4, 1, "2"))
    eventually("the fourth took from the first", lambda: bound() == {"rs2": 2, "rs3": 1, "rs4": 1})
    eventually("which wants its own back", lambda: space.get("rs", "rs1")["status"]["replicas"] == 2)
    assert bound() == {"rs2": 2, "rs3": 1, "rs4": 1}


def test_devices_come_from_a_template(two_nodes: LocalCluster, space: Space) -> None:
    """The controller makes the claim, the scheduler allocates it on the node with the device and reserves it for the pod."""
    node = two_nodes.nodes[1].name
    group = "resource.k8s.io/v1"
    space.apply(
        {"apiVersion": group, "kind": "DeviceClass", "metadata": {"name": "gpu"}, "spec": {}},
        {"apiVersion": group, "kind": "ResourceSlice", "metadata": {"name": "gpus"}, "spec": {
            "driver": "gpu.example.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "x"}}}]}},
        {"apiVersion": group, "kind": "ResourceClaimTemplate", "metadata": {"name": "one"}, "spec": {"spec": {
            "devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "selectors": [
                {"cel": {"expression": 'device.attributes["gpu.example.com"].model == "x"'}}]}}]}}}},
        pod("first", resourceClaims=[{"name": "g", "resourceClaimTemplateName": "one"}]))
    try:
        eventually("the first has it", lambda: placed(space)["first"] == node)
        [claim] = eventually("its claim is reserved for it", lambda: [claim for claim in space.get("resourceclaims")["items"] if [
            entry["name"] for entry in claim["status"]["reservedFor"]] == ["first"]])
        assert claim["status"]["allocation"]["devices"]["results"][0]["device"] == "gpu-0"
        space.apply(pod("second", resourceClaims=[{"name": "g", "resourceClaimTemplateName": "one"}]))
        eventually("there is none for another", lambda: "2 cannot allocate all claims" in refusals(space).get("second", ""))
        space.kubectl("delete", "pod", "first", "--grace-period=0", "--force")
        eventually("until it is given back", lambda: placed(space)["second"] == node)
    finally:
        two_nodes.kubectl("delete", "resourceslice/gpus", "deviceclass/gpu")


def test_limit_ranges_give_defaults_and_go_by_collection(two_nodes: LocalCluster, space: Space) -> None:
    def ranges(name: str, cpu: str) -> Any:
        return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name, "labels": {"range": name}},
                "spec": {"limits": [{"type": "Container", "min": {"cpu": "10m"}, "max": {"cpu": "800m"}, "default": {"cpu": cpu},
                                     "defaultRequest": {"cpu": "20m"}}]}}
    space.apply(ranges("one", "300m"))
    space.apply(pod("defaulted"), pod("partly", {"cpu": "50m"}))
    found = {name: space.get("pod", name)["spec"]["containers"][0]["resources"] for name in ("defaulted", "partly")}
    assert found["defaulted"] == {"requests": {"cpu": "20m"}, "limits": {"cpu": "300m"}}
    assert found["partly"] == {"requests": {"cpu": "50m"}, "limits": {"cpu": "300m"}}
    with pytest.raises(Failed, match="minimum cpu usage per Container is 10m, but request is 5m"):
        space.apply(pod("small", {"cpu": "5m"}))
    space.apply(ranges("two", "400m"))
    space.kubectl("patch", "limitrange", "one", "--type=merge", "-p", '{"metadata": {"labels": {"patched": "yes"}}}')
    listed = json.loads(two_nodes.kubectl("get", "limitrange", "-A", "-l", "patched=yes", "-o", "json"))["items"]
    assert "one" in [item["metadata"]["name"] for item in listed if item["metadata"]["namespace"] == space.namespace]
    space.kubectl("delete", "limitrange", "-l", "range=one")
    assert [item["metadata"]["name"] for item in space.get("limitrange")["items"]] == ["two"]
    space.kubectl("delete", "limitrange", "--all")


def test_priority_classes_change_but_for_their_value(two_nodes: LocalCluster, space: Space) -> None:
    two_nodes.kubectl("patch", "priorityclass", "p1", "--type=merge", "-p", '{"description": "changed"}')
    assert space.get("priorityclass", "p1")["description"] == "changed"
    with pytest.raises(Failed, match="may not be changed in an update"):
        two_nodes.kubectl("patch", "priorityclass", "p1", "--type=merge", "-p", '{"value": 7}')
    names = {item["metadata"]["name"] for item in space.get("priorityclass")["items"]}
    assert {"p1", "p2", "p3", "p4", "system-cluster-critical", "system-node-critical"} <= names
