"""What the explanation says."""
from __future__ import annotations

import importlib.util
from pathlib import Path

from kubepy.scheduler import config
from kubepy.scheduler.explain import explain

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)
PROFILE = config.default().profiles["default-scheduler"]


def test_each_node_has_its_reason_or_its_scores():
    snapshot = cluster.snapshot([cluster.node("big", cpu="8"), cluster.node("small", cpu="1"), cluster.node("tiny", cpu="500m"),
                                 cluster.node("tainted", taints=[{"key": "a", "effect": "NoSchedule"}])],
                                [cluster.pod("web", node="big", requests={"cpu": "7"})])
    found = explain(cluster.parsed("new", requests={"cpu": "1"}), snapshot, PROFILE)
    assert found["feasible"] == 2
    first, second, *refused = found["nodes"]
    assert {first["name"], second["name"]} == {"big", "small"}
    assert first["score"] >= second["score"]
    assert first["score"] == sum(first["scores"].values())
    assert [(entry["name"], entry["plugin"], entry["reasons"]) for entry in refused] == [
        ("tainted", "TaintToleration", ["node(s) had untolerated taint(s)"]), ("tiny", "NodeResourcesFit", ["Insufficient cpu"])]
    moved = explain(cluster.PARSER.parse(cluster.pod("web", node="big", requests={"cpu": "7"})), snapshot, PROFILE)
    assert moved["feasible"] == 1  # where it runs it is not in its own way
    drained = explain(cluster.parsed("new", requests={"cpu": "7"}), snapshot, PROFILE, without=["big"])
    assert drained["feasible"] == 0
    assert snapshot.used[0].sum() == 7000


def test_devices_are_explained_as_well():
    snapshot = cluster.snapshot([cluster.node("n1"), cluster.node("n2"), cluster.node("n3", cpu="1")])
    snapshot.devices.enabled = True
    snapshot.devices.set_class("gpu", {"metadata": {"name": "gpu"}, "spec": {}})
    snapshot.devices.set_slice("s", {"metadata": {"name": "s"}, "spec": {
        "driver": "d", "nodeName": "n2", "pool": {"name": "n2", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "x"}]}})
    snapshot.devices.set_claim("default/c", {"metadata": {"name": "c", "namespace": "default", "uid": "c"}, "spec": {"devices": {
        "requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}})
    pod = cluster.parsed("new", requests={"cpu": "2"}, resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    found = explain(pod, snapshot, PROFILE)
    assert {entry["name"]: (entry["feasible"], entry.get("plugin"), entry.get("reasons")) for entry in found["nodes"]} == {
        "n2": (True, None, None), "n1": (False, "DynamicResources", ["cannot allocate all claims"]),
        "n3": (False, "NodeResourcesFit", ["Insufficient cpu"])}
    drained = explain(pod, snapshot, PROFILE, without=["n2"])
    assert drained["feasible"] == 0
    gated = explain(cluster.parsed("gated", schedulingGates=[{"name": "g"}]), snapshot, PROFILE)
    assert gated["gates"] == ["waiting for scheduling gates: [g]"]
