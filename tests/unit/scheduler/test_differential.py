"""Each plugin's columns agree with its plain rule for one node, on random clusters that nodes and pods have come to and gone from."""
from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubepy.scheduler import config, cycle, preemption
from kubepy.scheduler.framework import Cycle, Plugin
from kubepy.scheduler.plugins import DEFAULT

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)

PROFILE = config.default().profiles["default-scheduler"]
FILTERS = {plugin.name: plugin for plugin in PROFILE.filters}
SCORES = {weighted.plugin.name: weighted.plugin for weighted in PROFILE.scores}


def churn(rng, snapshot):
    """Some nodes and pods come, leave or change; sometimes only pods, as it mostly is."""
    for number in range(rng.randrange(3)):
        snapshot.set_pod(cluster.PARSER.parse(cluster.random_pod(rng, f"later{number}", list(snapshot.nodes))))
    for key in list(snapshot.placed):
        if rng.random() < 0.2:
            snapshot.forget_pod(key)
    for _ in range(rng.randrange(3)):
        cluster.random_related(rng, snapshot, list(snapshot.nodes))
    if rng.random() < 0.5:
        return
    for name in list(snapshot.nodes):
        kind = rng.random()
        if kind < 0.15 and len(snapshot) > 1:
            snapshot.remove_node(name)
        elif kind < 0.4:
            snapshot.set_node(cluster.random_node(rng, name))
    if rng.random() < 0.5:
        snapshot.set_node(cluster.random_node(rng, "fresh"))


def filter_agrees(plugin, pod, snapshot):
    attempt = Cycle(pod, snapshot)
    why = plugin.pre_filter(attempt)
    refusals = plugin.filter(attempt) if why is None else ()
    for node in snapshot.nodes.values():
        seen = {(r.reason, r.resolvable) for r in refusals if r.nodes[node.slot]}
        plain = {tuple(reason) for reason in plugin.filter_node(Cycle(pod, snapshot), node)}
        if why is None:
            assert seen == plain, (plugin.name, node)
        else:
            assert plain, plugin.name


def score_agrees(plugin, pod, snapshot, nodes):
    attempt = Cycle(pod, snapshot)
    if plugin.pre_filter(attempt) is not None:
        return
    feasible = np.zeros(snapshot.capacity, np.bool_)
    feasible[[node.slot for node in nodes]] = True
    scores = plugin.score(attempt, feasible)
    plain = [plugin.score_node(Cycle(pod, snapshot), node, nodes) for node in nodes]
    if scores is None:
        assert len(set(plain)) == 1, plugin.name
    else:
        assert [scores[node.slot] for node in nodes] == pytest.approx(plain), plugin.name
        assert all(0 <= scores[node.slot] <= 100 for node in nodes), plugin.name


EXAMPLES = int(os.environ.get("KUBEPY_EXAMPLES", "700"))
"""Each is three states of a cluster, with every plugin's filter and score for one pod: 2,100 clusters and some 400,000 comparisons."""


@given(seed=st.integers(0, 2**32))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 700)
def test_every_plugin_agrees_with_its_plain_rule(seed):
    rng, snapshot = cluster.random_cluster(seed)
    pod = cluster.PARSER.parse(cluster.random_pod(rng, "new"))
    if rng.random() < 0.1:
        pod.raw["spec"]["nodeName"] = rng.choice(list(snapshot.nodes))
    for _ in range(3):
        for plugin in (*FILTERS.values(), *SCORES.values()):
            plugin.handle = SimpleNamespace(snapshot=snapshot)
        for plugin in FILTERS.values():
            filter_agrees(plugin, pod, snapshot)
        names = rng.sample(list(snapshot.nodes), rng.randrange(1, len(snapshot) + 1))
        for plugin in SCORES.values():
            score_agrees(plugin, pod, snapshot, [snapshot.nodes[name] for name in names])
        churn(rng, snapshot)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_decision_is_a_node_that_the_plain_rules_accept(seed):
    rng, snapshot = cluster.random_cluster(seed)
    pod = cluster.PARSER.parse(cluster.random_pod(rng, "new"))
    decision = cycle.decide(pod, snapshot, PROFILE, rng)
    accepted = {node.name for node in snapshot.nodes.values() if cycle.fits_node(Cycle(pod, snapshot), PROFILE, node) == ("", ())}
    if decision.unfit is None:
        assert decision.node in accepted
        assert decision.feasible == len(accepted)
    else:
        assert not accepted
        assert decision.unfit.message().startswith(f"0/{len(snapshot)} nodes are available: ")


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_lenses_find_the_victims_that_trying_finds(seed):
    rng, snapshot = cluster.random_cluster(seed)
    pod = cluster.PARSER.parse(cluster.random_pod(rng, "new"))
    pod.priority = 5
    budgets = [preemption.Budget("default", {"matchLabels": {"group": group}}, rng.randrange(2)) for group in cluster.GROUPS]
    for plugin in FILTERS.values():
        plugin.handle = SimpleNamespace(snapshot=snapshot)
    trial, slow = preemption.Trial(pod, snapshot, PROFILE), preemption.Trial(pod, snapshot, PROFILE, through_lenses=False)
    for node in snapshot.nodes.values():
        outcomes = []
        for one in (trial, slow):
            found = preemption._victims(one, node, budgets)
            outcomes.append((sorted(victim.key for victim in found.victims), found.violations) if isinstance(found, preemption.Candidate)
                            else {reason.text for reason in found})
        assert outcomes[0] == outcomes[1]


def test_every_filter_and_score_has_a_plain_rule():
    names = {plugin.name for plugin, _ in DEFAULT}
    assert names - FILTERS.keys() - SCORES.keys() == {"SchedulingGates", "PrioritySort", "DefaultPreemption", "DefaultBinder"}
    for plugin in FILTERS.values():
        assert type(plugin).filter_node is not Plugin.filter_node, plugin.name
    for plugin in SCORES.values():
        assert type(plugin).score_node is not Plugin.score_node, plugin.name
