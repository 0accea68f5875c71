"""Who must leave for whom."""
from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubepy.scheduler import config, cycle
from kubepy.scheduler.framework import Cycle
from kubepy.scheduler.preemption import NEVER, Budget, plan_preemption

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)
PROFILE = config.default().profiles["default-scheduler"]


def small(name, node, priority=0, cpu="1", started=0, **labels):
    return cluster.pod(name, node=node, requests={"cpu": cpu}, priority=priority, labels=labels,
                       status={"startTime": f"2030-01-01T00:00:{started:02d}Z"})


def plan(nodes, pods, budgets=(), cpu="1", priority=10, **spec):
    snapshot = cluster.snapshot(nodes, pods)
    pod = cluster.parsed("new", requests={"cpu": cpu}, priority=priority, **spec)
    decision = cycle.decide(pod, snapshot, PROFILE, random.Random(1))
    assert decision.unfit is not None
    before = snapshot.used.copy()
    outcome = plan_preemption(pod, snapshot, PROFILE, decision.unfit, budgets, random.Random(1))
    assert (snapshot.used == before).all()
    chosen = outcome.chosen
    return (chosen.node, [victim.name for victim in chosen.victims]) if chosen else outcome.message


TWO = [cluster.node("n1", cpu="2"), cluster.node("n2", cpu="2")]


@pytest.mark.parametrize(("pods", "options", "expected"), [
    pytest.param([small("a", "n1", cpu="2"), small("b", "n2", 5, cpu="2")], {}, ("n1", ["a"]), id="the lowest priority"),
    pytest.param([small("a", "n1"), small("b", "n1"), small("c", "n2", cpu="2")], {"cpu": "2"}, ("n2", ["c"]), id="the fewest victims"),
    pytest.param([small("a", "n1", started=1), small("b", "n1", started=2), small("c", "n2", 20, cpu="2")], {}, ("n1", ["b"]),
                 id="the one that started last"),
    pytest.param([small("a", "n1", 2), small("b", "n1", 1), small("c", "n2", 20, cpu="2")], {}, ("n1", ["b"]),
                 id="the important one stays"),
    pytest.param([small("a", "n1", 10, cpu="2"), small("b", "n2", 20, cpu="2")], {},
                 "0/2 nodes are available: 2 No preemption victims found for incoming pod.", id="nobody is lesser"),
    pytest.param([small("a", "n1", cpu="2"), small("b", "n2", 20, cpu="2")], {"preemptionPolicy": "Never"}, NEVER, id="not allowed to"),
    pytest.param([small("a", "n1"), small("b", "n2")], {"cpu": "3"},
                 "0/2 nodes are available: 2 Preemption is not helpful for scheduling.", id="even empty nodes are too small"),
    pytest.param([small("a", "n1", cpu="2", app="x"), small("b", "n2", 5, cpu="2")],
                 {"budgets": [Budget("default", {"matchLabels": {"app": "x"}}, 0)]}, ("n2", ["b"]), id="a disruption budget is kept"),
    pytest.param([small("a", "n1", cpu="2", app="x"), small("b", "n2", 20, cpu="2")],
                 {"budgets": [Budget("default", {"matchLabels": {"app": "x"}}, 0)]}, ("n1", ["a"]),
                 id="a disruption budget is broken if there is no other way"),
])
def test_plan(pods, options, expected):
    assert plan(TWO, pods, **options) == expected


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_pod_fits_once_its_victims_are_gone_and_not_before(seed):
    rng, snapshot = cluster.random_cluster(seed)
    made = cluster.random_pod(rng, "new")
    made["spec"]["priority"] = 20
    pod = cluster.PARSER.parse(made)
    decision = cycle.decide(pod, snapshot, PROFILE, rng)
    if decision.unfit is None:
        return
    outcome = plan_preemption(pod, snapshot, PROFILE, decision.unfit, (), rng)
    if outcome.chosen is None:
        return
    node = snapshot.nodes[outcome.chosen.node]
    assert outcome.chosen.victims
    for victim in outcome.chosen.victims:
        assert victim.priority < pod.priority
        assert cycle.fits_node(Cycle(pod, snapshot), PROFILE, node)[0]
        snapshot.forget_pod(victim.key)
    assert cycle.fits_node(Cycle(pod, snapshot), PROFILE, node) == ("", ())
