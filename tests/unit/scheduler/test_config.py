"""KubeSchedulerConfiguration: what it switches on and off, and what it refuses."""
from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

from kubepy.scheduler import config, cycle

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)

TEXT = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
podMaxBackoffSeconds: 20
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  plugins:
    score:
      disabled: [{name: NodeResourcesBalancedAllocation}]
      enabled: [{name: NodeResourcesFit, weight: 5}]
    postFilter: {disabled: [{name: DefaultPreemption}]}
    multiPoint: {disabled: [{name: ImageLocality}]}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
"""


def test_profiles():
    found = config.load(TEXT)
    default, packing = found.profiles["default-scheduler"], found.profiles["packing"]
    weights = {weighted.plugin.name: weighted.weight for weighted in packing.scores}
    assert weights["NodeResourcesFit"] == 5
    assert not {"NodeResourcesBalancedAllocation", "ImageLocality"} & set(weights)
    assert [plugin.name for plugin in default.points["postFilter"]] == ["DynamicResources", "DefaultPreemption"]
    assert [plugin.name for plugin in packing.points["postFilter"]] == ["DynamicResources"]
    assert found.max_backoff == 20


def test_profiles_do_not_mix_up_what_they_keep_with_a_template():
    found = config.load(TEXT)
    snapshot = cluster.snapshot([cluster.node("n1"), cluster.node("n2")], [cluster.pod("old", node="n1", requests={"cpu": "2"})])

    def chosen(scheduler):
        pod = cluster.parsed("new", requests={"cpu": "1"}, schedulerName=scheduler)
        return cycle.decide(pod, snapshot, found.profiles[scheduler], random.Random(1)).node

    assert [chosen("default-scheduler"), chosen("packing"), chosen("default-scheduler")] == ["n2", "n1", "n2"]


@pytest.mark.parametrize(("change", "message"), [
    pytest.param(("kind: KubeScheduler", "kind: Kube"), "no kind", id="another kind"),
    pytest.param(("NodeResourcesFit, weight", "Nothing, weight"), "does not exist", id="an unknown plugin"),
    pytest.param(("schedulerName: packing", "schedulerName: default-scheduler"), "Duplicate value", id="a name twice"),
    pytest.param(("podMaxBackoffSeconds: 20", "podMaxBackoffSeconds: 0.5"), "must be greater", id="back-offs that do not grow"),
    pytest.param(("profiles:", "extenders: [{urlPrefix: ''}]\nprofiles:"), r"extenders\[0\].urlPrefix: Required", id="no address"),
    pytest.param(("profiles:", "extenders: [{urlPrefix: a, bindVerb: b}, {urlPrefix: a, bindVerb: b}]\nprofiles:"),
                 "only one extender can implement bind", id="two extenders that bind"),
    pytest.param(("multiPoint:", "permit: {enabled: [{name: NodeName}]}, multiPoint:".replace(", ", "\n    ")), "does not extend Permit",
                 id="a plugin at a point it does not know"),
    pytest.param(("podMaxBackoffSeconds: 20", "percentageOfNodesToScore: 101"), "not in valid range", id="more than all nodes"),
])
def test_refused(change, message):
    with pytest.raises(config.ConfigError, match=message):
        config.load(TEXT.replace(*change))


def test_verdicts_are_kept_for_the_templates_tried_last():
    found = config.default().profiles["default-scheduler"]
    snapshot = cluster.snapshot([cluster.node("n1"), cluster.node("n2")])
    pods = [cluster.parsed(f"p{index}", requests={"cpu": f"{index}m"}) for index in range(1, 400)]
    for pod in pods:
        cycle.decide(pod, snapshot, found, random.Random(1))
    assert not pods[0].template.verdicts
    assert pods[-1].template.verdicts
    assert sum(bool(pod.template.verdicts) for pod in pods) == 256
