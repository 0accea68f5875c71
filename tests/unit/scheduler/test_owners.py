"""Default topology spreading: whose pods a pod without constraints is spread among."""
from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

from kubepy.scheduler import config, cycle

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)
PROFILE = config.default().profiles["default-scheduler"]


def owner(kind, selector, name="r", namespace="default"):
    return kind, {"metadata": {"namespace": namespace, "name": name}, "spec": {"selector": selector}}


def pod(name, kind=None, node=None, **labels):
    metadata = {"ownerReferences": [{"kind": kind, "name": "r", "uid": "r", "controller": True}]} if kind else {}
    return cluster.PARSER.parse(cluster.pod(name, labels=labels, metadata=metadata, node=node))


SET, MAP = {"matchLabels": {"app": "x"}}, {"app": "x"}


@pytest.mark.parametrize(("owners", "subject", "expected"), [
    pytest.param([], pod("p", "ReplicaSet", app="x"), None, id="a controller that is not known"),
    pytest.param([owner("ReplicaSet", SET)], pod("p", "ReplicaSet", app="x"), ({"app": "x"}, 0), id="a replica set"),
    pytest.param([owner("StatefulSet", SET)], pod("p", "StatefulSet", app="x"), ({"app": "x"}, 0), id="a stateful set"),
    pytest.param([owner("ReplicationController", MAP)], pod("p", "ReplicationController", app="x"), ({"app": "x"}, 0), id="a controller"),
    pytest.param([owner("ReplicaSet", SET, name="other")], pod("p", "ReplicaSet", app="x"), None, id="another's set"),
    pytest.param([owner("ReplicaSet", SET, namespace="other")], pod("p", "ReplicaSet", app="x"), None, id="one of another namespace"),
    pytest.param([owner("Service", MAP)], pod("p", app="x"), ({"app": "x"}, 0), id="a service"),
    pytest.param([owner("Service", MAP), owner("Service", {"tier": "y"}, name="s")], pod("p", app="x", tier="y"),
                 ({"app": "x", "tier": "y"}, 0), id="two services"),
    pytest.param([owner("Service", {"app": "z"})], pod("p", app="x"), None, id="a service of others"),
    pytest.param([owner("Service", None)], pod("p", app="x"), None, id="a service without a selector"),
    pytest.param([owner("Service", MAP), owner("ReplicaSet", {"matchExpressions": [{"key": "tier", "operator": "Exists"}]})],
                 pod("p", "ReplicaSet", app="x"), ({"app": "x"}, 1), id="a service and a set with an expression"),
])
def test_selectors(owners, subject, expected):
    snapshot = cluster.snapshot([cluster.node("n1")])
    for kind, obj in owners:
        snapshot.owners.set(kind, obj)
    found = snapshot.owners.selector(subject)
    assert (found and (found["matchLabels"], len(found["matchExpressions"]))) == expected
    for kind, obj in owners:
        snapshot.owners.remove(kind, obj)
    assert snapshot.owners.selector(subject) is None


def test_pods_of_a_service_are_spread_over_zones_without_asking():
    """Zones weigh as the system's defaults say: maxSkew 3 over hosts, 5 over zones, both only wishes."""
    nodes = [cluster.node(f"n{index}", cpu="64", memory="64Gi", labels={"topology.kubernetes.io/zone": "ab"[index % 2]})
             for index in range(4)]
    snapshot = cluster.snapshot(nodes)
    snapshot.owners.set(*owner("Service", MAP))
    placed = []
    for index in range(8):
        subject = pod(f"p{index}", app="x")
        decision = cycle.decide(subject, snapshot, PROFILE, random.Random(index))
        snapshot.assume(subject, decision.node)
        placed.append(decision.node)
    assert sorted(placed) == sorted(["n0", "n1", "n2", "n3"] * 2)
    assert {placed[index] for index in range(0, 8)} == {"n0", "n1", "n2", "n3"}
