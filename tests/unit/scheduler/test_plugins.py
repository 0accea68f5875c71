"""Decision tables of the plugins: which nodes they leave, in which words they refuse, and how they score."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kubepy.scheduler import config, cycle
from kubepy.scheduler.framework import Cycle

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)
node, pod = cluster.node, cluster.pod
HOST, ZONE = "kubernetes.io/hostname", "zone"


def profile(**args):
    return config.parse({"apiVersion": config.API_VERSION, "kind": "KubeSchedulerConfiguration", "profiles": [
        {"pluginConfig": [{"name": name, "args": value} for name, value in args.items()]}]}).profiles["default-scheduler"]


PROFILE = profile()


def taint(effect="NoSchedule", key="k", value="v"):
    return {"key": key, "value": value, "effect": effect}


def zoned(*zones, **kwargs):
    return [node(f"n{index}", labels={ZONE: zone} if zone else {}, **kwargs) for index, zone in enumerate(zones, 1)]


def term(app, key=ZONE, **more):
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def affinity(kind, *terms):
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}}


def requires(*expressions, fields=()):
    one = {**({"matchExpressions": list(expressions)} if expressions else {}), **({"matchFields": list(fields)} if fields else {})}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [one]}}}}


def expression(key, operator, *values):
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def spread(skew=1, key=ZONE, **more):
    return {"topologySpreadConstraints": [{"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
                                           "labelSelector": {"matchLabels": {"app": "x"}}, **more}]}


def on(number, name="p", **kwargs):
    return pod(f"{name}-{number}-{len(kwargs)}", node=f"n{number}", **kwargs)


X, Y = {"labels": {"app": "x"}}, {"labels": {"app": "y"}}
PORT = {"containerPort": 80, "hostPort": 80}
UNEVEN = "node(s) didn't match pod topology spread constraints"
TWO, ABAB = [node("n1"), node("n2")], zoned("a", "b", "a", "b")
BIG = {"requests": {"cpu": "3"}}


@pytest.mark.parametrize(("nodes", "pods", "new", "expected"), [
    pytest.param(TWO, [], {}, "n1 n2", id="NodeName: none is named"),
    pytest.param([node("n1", unschedulable=True), node("n2")], [], {}, "n2", id="NodeUnschedulable: a cordoned node"),
    pytest.param([node("n1"), node("n2", features=["RestartAllContainersOnContainerExits"])], [], {"initContainers": [{
        "name": "i", "restartPolicyRules": [{"action": "RestartAllContainers"}]}]}, "n2", id="NodeDeclaredFeatures: who can"),
    pytest.param([node("n1", unschedulable=True)], [], {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]},
                 "n1", id="NodeUnschedulable: tolerated"),
    pytest.param([node("n1", taints=[taint()]), node("n2", taints=[taint("PreferNoSchedule")])], [], {}, "n2",
                 id="TaintToleration: only hard effects refuse"),
    pytest.param([node("n1", taints=[taint("NoExecute")])], [], {}, "1 node(s) had untolerated taint(s).",
                 id="TaintToleration: no execution"),
    pytest.param([node("n1", taints=[taint()])], [], {"tolerations": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}, "n1",
                 id="TaintToleration: tolerated by value"),
    pytest.param([node("n1", taints=[taint(value="5")])], [], {"tolerations": [{"key": "k", "operator": "Gt", "value": "3"}]}, "n1",
                 id="TaintToleration: tolerated by number"),
    pytest.param(ABAB, [], {"nodeSelector": {ZONE: "b"}}, "n2 n4", id="NodeAffinity: a selector"),
    pytest.param(ABAB, [], requires(expression(ZONE, "NotIn", "b")), "n1 n3", id="NodeAffinity: an expression"),
    pytest.param(ABAB, [], requires(expression(HOST, "In", "n1", "n2"), expression(ZONE, "In", "b")), "n2",
                 id="NodeAffinity: all of a term"),
    pytest.param(TWO, [], requires(fields=[expression("metadata.name", "In", "n2")]), "n2", id="NodeAffinity: a field"),
    pytest.param(TWO, [], requires(fields=[expression("metadata.name", "In", "n3")]),
                 "2 node(s) didn't satisfy plugin(s) [NodeAffinity].", id="NodeAffinity: a node that is not there"),
    pytest.param(TWO, [on(1, ports=[PORT])], {"ports": [PORT]}, "n2", id="NodePorts: taken"),
    pytest.param(TWO, [on(1, ports=[{**PORT, "protocol": "UDP"}])], {"ports": [PORT]}, "n1 n2", id="NodePorts: of another protocol"),
    pytest.param(TWO, [on(1, ports=[{**PORT, "hostIP": "10.0.0.1"}])], {"ports": [{**PORT, "hostIP": "10.0.0.2"}]}, "n1 n2",
                 id="NodePorts: at another address"),
    pytest.param(TWO, [on(1, ports=[{**PORT, "hostIP": "10.0.0.1"}])], {"ports": [PORT]}, "n2", id="NodePorts: at all addresses"),
    pytest.param([node("n1", cpu="2"), node("n2", cpu="4")], [], BIG, "n2", id="NodeResourcesFit: large enough"),
    pytest.param(TWO, [on(1, **BIG)], BIG, "n2", id="NodeResourcesFit: what is left"),
    pytest.param([node("n1", pods="1")], [on(1)], {}, "1 Too many pods.", id="NodeResourcesFit: places"),
    pytest.param([node("n1", **{"example.com/gpu": "1"}), node("n2")], [], {"requests": {"example.com/gpu": "1"}}, "n1",
                 id="NodeResourcesFit: extended resources"),
    pytest.param([node("n1", cpu="1")], [], {"requests": {"cpu": "2", "memory": "1Ti"}}, "1 Insufficient cpu, 1 Insufficient memory.",
                 id="NodeResourcesFit: several reasons"),
    pytest.param([node("n1", cpu="2")], [], {"requests": {"cpu": "1"}, "overhead": {"cpu": "1500m"}}, "1 Insufficient cpu.",
                 id="NodeResourcesFit: overhead"),
    pytest.param([node("n1", cpu="2")], [], {"requests": {"cpu": "1"}, "initContainers": [
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1500m"}}}]}, "1 Insufficient cpu.",
        id="NodeResourcesFit: a sidecar runs beside"),
    pytest.param([node("n1", cpu="2")], [], {"requests": {"cpu": "1"}, "initContainers": [
        {"name": "s", "resources": {"requests": {"cpu": "1500m"}}}]}, "n1", id="NodeResourcesFit: an init container runs before"),
    pytest.param([node("n1", cpu="2")], [], {"requests": {"cpu": "1"}, "resources": {"requests": {"cpu": "3"}}}, "1 Insufficient cpu.",
                 id="NodeResourcesFit: pod-level requests"),
    pytest.param([node("n1", cpu="4")], [on(1, requests={"cpu": "1"}, status={"containerStatuses": [
        {"name": "c", "allocatedResources": {"cpu": "3"}}]})], {"requests": {"cpu": "2"}}, "1 Insufficient cpu.",
        id="NodeResourcesFit: a pod that shrinks still holds what it had"),
    pytest.param(ABAB, [on(1, **X)], {**X, **spread()}, "n2 n4", id="PodTopologySpread: the emptier zone"),
    pytest.param(ABAB, [on(1, **X)], {**X, **spread(skew=2)}, "n1 n2 n3 n4", id="PodTopologySpread: within the skew"),
    pytest.param(ABAB, [on(1, **X)], {**Y, **spread()}, "n1 n2 n3 n4", id="PodTopologySpread: one that does not count itself"),
    pytest.param(zoned("a", "b", None), [on(1, **X)], {**X, **spread()}, "n2", id="PodTopologySpread: a node without the label"),
    pytest.param(zoned("a", "b"), [on(1, **X), on(2, **X)], {**X, **spread(minDomains=3)}, f"2 {UNEVEN}.",
                 id="PodTopologySpread: minDomains"),
    pytest.param(zoned("a", "b"), [on(1, labels={"app": "x", "v": "1"})],
                 {"labels": {"app": "x", "v": "2"}, **spread(matchLabelKeys=["v"])}, "n1 n2", id="PodTopologySpread: matchLabelKeys"),
    pytest.param(zoned("a", "b", "c"), [on(1, **X)], {**X, **spread(), "nodeSelector": {HOST: "n1"}}, "n1",
                 id="PodTopologySpread: nodes it may not go to do not count"),
    pytest.param(zoned("a", "b", "c"), [on(1, **X)], {**X, **spread(nodeAffinityPolicy="Ignore"), "nodeSelector": {HOST: "n1"}},
                 f"1 {UNEVEN}, 2 node(s) didn't match Pod's node affinity/selector.", id="PodTopologySpread: unless they are to count"),
    pytest.param([*zoned("a"), node("n2", labels={ZONE: "b"}, taints=[taint()])], [on(1, **X)], {**X, **spread(nodeTaintsPolicy="Honor")},
                 "n1", id="PodTopologySpread: tainted nodes do not count where that is asked"),
    pytest.param([*zoned("a"), node("n2", labels={ZONE: "b"}, taints=[taint()])], [on(1, **X)], {**X, **spread()},
                 f"1 {UNEVEN}, 1 node(s) had untolerated taint(s).", id="PodTopologySpread: tainted nodes count"),
    pytest.param(ABAB, [on(1, **X)], affinity("podAffinity", term("x")), "n1 n3", id="InterPodAffinity: near"),
    pytest.param(ABAB, [on(1, **X)], affinity("podAffinity", term("x", HOST)), "n1", id="InterPodAffinity: on the same node"),
    pytest.param(ABAB, [], {**X, **affinity("podAffinity", term("x"))}, "n1 n2 n3 n4", id="InterPodAffinity: the first of its kind"),
    pytest.param(ABAB, [], affinity("podAffinity", term("x")), "4 node(s) didn't match pod affinity rules.",
                 id="InterPodAffinity: near to nobody"),
    pytest.param(ABAB, [on(1, **X)], affinity("podAntiAffinity", term("x")), "n2 n4", id="InterPodAffinity: apart"),
    pytest.param(ABAB, [on(1, **X, **affinity("podAntiAffinity", term("y")))], Y, "n2 n4",
                 id="InterPodAffinity: one that wants to be alone"),
    pytest.param(ABAB, [on(1, namespace="other", **X)], affinity("podAntiAffinity", term("x")), "n1 n2 n3 n4",
                 id="InterPodAffinity: another namespace"),
    pytest.param(ABAB, [on(1, namespace="other", **X)], affinity("podAntiAffinity", term("x", namespaces=["other"])), "n2 n4",
                 id="InterPodAffinity: a namespace by name"),
    pytest.param(ABAB, [on(1, namespace="other", **X)], affinity("podAntiAffinity", term("x", namespaceSelector={
        "matchLabels": {"team": "x"}})), "n2 n4", id="InterPodAffinity: a namespace by label"),
    pytest.param([node("n1", cpu="1"), node("n2", taints=[taint()]), node("n3", unschedulable=True)], [], BIG,
                 "1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.",
                 id="all reasons, counted and sorted"),
])
def test_filters(nodes, pods, new, expected):
    snapshot = cluster.snapshot(nodes, pods, namespaces={"default": {}, "other": {"team": "x"}})
    subject = cluster.parsed("new", **new)
    feasible, unfit = cycle.fit(Cycle(subject, snapshot), PROFILE)
    names = " ".join(sorted(found.name for found in snapshot.nodes.values() if feasible[found.slot]))
    assert (names or unfit.message().partition(" nodes are available: ")[2]) == expected
    assert names == " ".join(sorted(found.name for found in snapshot.nodes.values()
                                    if cycle.fits_node(Cycle(subject, snapshot), PROFILE, found) == ("", ())))


def prefers(weight, *expressions):
    return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": weight, "preference": {"matchExpressions": list(expressions)}}]}}}


def wishes(kind, weight, one):
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": one}]}}}


ASKS = {"requests": {"cpu": "1", "memory": "2Gi"}}
RATIO = {"scoringStrategy": {"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu", "weight": 1}], "requestedToCapacityRatio": {
    "shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]}}}
SOFT = {"whenUnsatisfiable": "ScheduleAnyway"}
IMAGES = [{"names": ["app:latest"], "sizeBytes": 500 * 2**20}]


@pytest.mark.parametrize(("plugin", "args", "nodes", "pods", "new", "expected"), [
    pytest.param("TaintToleration", {}, [node("n1", taints=[taint("PreferNoSchedule"), taint("PreferNoSchedule", "l")]),
                                         node("n2", taints=[taint("PreferNoSchedule")]), node("n3")], [], {}, [0, 50, 100],
                 id="TaintToleration: fewer taints"),
    pytest.param("NodeAffinity", {}, ABAB[:2], [], prefers(30, expression(ZONE, "In", "b")), [0, 100],
                 id="NodeAffinity: the preferred zone"),
    pytest.param("NodeAffinity", {"addedAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [expression(ZONE, "In", "a")]}}]}}, ABAB[:2], [],
        prefers(3, expression(ZONE, "In", "b")), [33, 100], id="NodeAffinity: the profile's preference besides"),
    pytest.param("NodeResourcesFit", {}, [node("n1", cpu="4"), node("n2", cpu="2")], [], ASKS, [75, 62], id="LeastAllocated"),
    pytest.param("NodeResourcesFit", {"scoringStrategy": {"type": "MostAllocated"}}, [node("n1", cpu="4"), node("n2", cpu="2")], [], ASKS,
                 [25, 37], id="MostAllocated"),
    pytest.param("NodeResourcesFit", RATIO, [node("n1", cpu="4"), node("n2", cpu="2")], [], ASKS, [25, 50], id="RequestedToCapacityRatio"),
    pytest.param("NodeResourcesFit", {"scoringStrategy": {"type": "LeastAllocated", "resources": [
        {"name": "cpu", "weight": 3}, {"name": "memory", "weight": 1}]}}, [node("n1", cpu="4"), node("n2", cpu="2")], [], ASKS, [75, 56],
        id="LeastAllocated: by weight"),
    pytest.param("NodeResourcesBalancedAllocation", {}, [node("n1", cpu="4"), node("n2", cpu="1")], [], ASKS, [75, 56],
                 id="in proportion"),
    pytest.param("NodeResourcesBalancedAllocation", {}, [node("n1"), node("n2")], [pod("m", requests={"memory": "2Gi"}, node="n1")],
                 {"requests": {"cpu": "1"}}, [81, 68], id="what brings a node into balance"),
    pytest.param("ImageLocality", {}, [node("n1", images=IMAGES), node("n2")], [], {}, [23, 0], id="ImageLocality: where the image is"),
    pytest.param("PodTopologySpread", {}, ABAB[:3], [on(1, **X)], {**X, **spread(**SOFT)}, [0, 100, 0], id="spreading as a wish"),
    pytest.param("InterPodAffinity", {}, ABAB[:3], [on(1, **X)], wishes("podAffinity", 10, term("x")), [100, 0, 100], id="rather near"),
    pytest.param("InterPodAffinity", {}, ABAB[:3], [on(1, **X)], wishes("podAntiAffinity", 10, term("x")), [0, 100, 0], id="rather apart"),
    pytest.param("InterPodAffinity", {}, ABAB[:3], [on(1, **X, **wishes("podAffinity", 10, term("y")))], Y, [100, 0, 100],
                 id="where one wants it near"),
    pytest.param("InterPodAffinity", {"ignorePreferredTermsOfExistingPods": True}, ABAB[:3],
                 [on(1, **X, **wishes("podAffinity", 10, term("y")))], Y, None, id="what others wish is ignored"),
    pytest.param("InterPodAffinity", {}, ABAB[:3], [on(1, **X, **affinity("podAffinity", term("y")))], Y, [100, 0, 100],
                 id="where one needs it near"),
])
def test_scores(plugin, args, nodes, pods, new, expected):
    made = next(weighted.plugin for weighted in profile(**({plugin: args} if args else {})).scores if weighted.plugin.name == plugin)
    snapshot = cluster.snapshot(nodes, pods)
    subject = cluster.parsed("new", **new)
    scores = made.score(Cycle(subject, snapshot), snapshot.exists.copy())
    placed = list(snapshot.nodes.values())
    if expected is None:
        assert scores is None
        return
    assert [int(scores[found.slot]) for found in placed] == expected
    assert [int(made.score_node(Cycle(subject, snapshot), found, placed)) for found in placed] == expected
    assert isinstance(scores, np.ndarray)
