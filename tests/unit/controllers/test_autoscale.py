"""Autoscaling: replicas from metrics, the pace of change, and a whole pass."""
from __future__ import annotations

from typing import Any

import pytest
from metric_client import MetricsClient
from rig import Rig, workload

from kubepy.api.resource import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.controllers.autoscale import pace, reconcile, replica
from kubepy.controllers.autoscale.pace import History, Moment
from kubepy.controllers.autoscale.replica import CannotCalculate, Sample, Settings, Tolerance

NOW = 1_000_000.0
SETTINGS = Settings(NOW)


def pod(name: str, request: str | None = "1", *, phase: str = "Running", ready: bool = True, age: float = 3600, deleted: bool = False,
        turned: float = 3000) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, **({"deletionTimestamp": "x"} if deleted else {})},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": request} if request else {}}}]},
            "status": {"phase": phase, "startTime": format_time(NOW - age), "conditions": [
                {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": format_time(NOW - turned)}]}}


def samples(**values: int) -> dict[str, Sample]:
    return {name: Sample(value, NOW - 10, 60) for name, value in values.items()}


@pytest.mark.parametrize(("pods", "values", "target", "expected"), [
    pytest.param([pod("a"), pod("b")], samples(a=900, b=900), 50, 4, id="above the target it grows in proportion"),
    pytest.param([pod("a"), pod("b")], samples(a=520, b=530), 50, 2, id="within tolerance nothing happens"),
    pytest.param([pod("a"), pod("b")], samples(a=100, b=100), 50, 1, id="below the target it shrinks"),
    pytest.param([pod("a"), pod("b")], samples(a=100), 50, 2, id="shrinking, a pod without metrics counts as using all it requests"),
    pytest.param([pod("a"), pod("b")], samples(a=900), 50, 2, id="growing, a pod without metrics counts as idle"),
    pytest.param([pod("a"), pod("b", phase="Pending")], samples(a=1500), 50, 3, id="growing, a pending pod counts as idle"),
    pytest.param([pod("a"), pod("b", age=60, ready=False)], samples(a=600, b=1000), 50, 2, id="a starting pod's CPU is left out"),
    pytest.param([pod("a"), pod("b", age=60, turned=30)], samples(a=500, b=5000), 50, 2, id="so is one from before it was ready"),
    pytest.param([pod("a"), pod("b"), pod("c", phase="Failed")], samples(a=900, b=900, c=900), 50, 4, id="failed pods do not count"),
    pytest.param([pod("a"), pod("b"), pod("c", deleted=True)], samples(a=900, b=900, c=900), 50, 4, id="nor do leaving ones"),
])
def test_utilization(pods: list[Object], values: dict[str, Sample], target: int, expected: int) -> None:
    result = replica.by_utilization(pods, values, target, "cpu", "", 2, Tolerance(), SETTINGS)
    assert result.replicas == expected


@pytest.mark.parametrize(("pods", "values", "message"), [
    pytest.param([], samples(a=1), replica.NO_PODS, id="no pods"),
    pytest.param([pod("a", phase="Pending")], samples(a=1), replica.NO_METRICS, id="only pending pods"),
    pytest.param([pod("a", None)], samples(a=1), "missing request for cpu in container c of Pod a", id="no request"),
])
def test_why_there_is_no_number(pods: list[Object], values: dict[str, Sample], message: str) -> None:
    with pytest.raises(CannotCalculate, match=message.replace("(", r"\(").replace(")", r"\)")):
        replica.by_utilization(pods, values, 50, "cpu", "", 1, Tolerance(), SETTINGS)


def test_values_for_all_pods_and_for_each() -> None:
    pods = [pod("a"), pod("b"), pod("c", ready=False)]
    assert replica.by_value(20_000, 10_000, pods, 3, Tolerance()) == 4  # the ready ones count
    assert replica.by_value(20_000, 10_000, [], 0, Tolerance()) == 2  # from nothing
    assert replica.per_pod(35_000, 10_000, 2, Tolerance()) == replica.Result(4, 17_500)
    assert replica.by_average(pods, samples(a=2000, b=2000, c=2000), 1000, "", 3, Tolerance(), SETTINGS).replicas == 6


@pytest.mark.parametrize(("spec", "current", "wanted", "history", "expected", "reason"), [
    pytest.param({}, 4, 20, History(), 8, "ScaleUpLimit", id="without behaviour at most double"),
    pytest.param({}, 1, 20, History(), 4, "ScaleUpLimit", id="or four"),
    pytest.param({}, 5, 50, History(), 10, "TooManyReplicas", id="or the maximum"),
    pytest.param({}, 9, 2, History([Moment(7, NOW - 100)]), 7, "DesiredWithinRange", id="a recent higher recommendation holds"),
    pytest.param({}, 9, 2, History([Moment(7, NOW - 301)]), 2, "DesiredWithinRange", id="an old one does not"),
    pytest.param({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}}, 3, 9, History(), 4,
                 "ScaleUpLimit", id="so many pods a period"),
    pytest.param({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}}, 4, 9,
                 History(ups=[Moment(1, NOW - 30)]), 4, "ScaleUpLimit", id="what was added in the period counts"),
    pytest.param({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [
        {"type": "Percent", "value": 10, "periodSeconds": 60}]}}}, 10, 2, History(), 9, "ScaleDownLimit", id="so many percent a period"),
    pytest.param({"behavior": {"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}}, 6, 2, History(), 6,
                 "ScaleDownLimit", id="scaling down may be off"),
    pytest.param({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}}}, 3, 9, History([Moment(5, NOW - 20)]), 5,
                 "DesiredWithinRange", id="a window for growing takes the lowest"),
])
def test_pace(spec: Object, current: int, wanted: int, history: History, expected: int, reason: str) -> None:
    found = pace.pace({"minReplicas": 1, "maxReplicas": 10, **spec}, current, wanted, history, 300, NOW)
    assert (found.replicas, found.limited.reason) == (expected, reason)


def conditions(hpa: Object) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in hpa["status"]["conditions"]}


async def scaled(rig: Rig, **spec: Any) -> None:
    await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=2))
    for name in ("a", "b"):
        rig.client.load(PODS, pod(name))
    await rig.client.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "h", "namespace": "default"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 10, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}], **spec}})


async def test_a_deployment_grows_under_load_and_says_why() -> None:
    client = MetricsClient()
    async with Rig(reconcile.controller, client=client) as rig:
        client.cpu = 900
        await scaled(rig)
        await rig.settle()
        assert client.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 4
        hpa = client.all(HORIZONTAL_POD_AUTOSCALERS)[0]
        assert (hpa["status"]["currentReplicas"], hpa["status"]["desiredReplicas"]) == (2, 4)
        assert hpa["status"]["currentMetrics"] == [{"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": 90, "averageValue": "900m"}}}]
        assert conditions(hpa) == {"AbleToScale": ("True", "SucceededRescale"), "ScalingActive": ("True", "ValidMetricFound"),
                                   "ScalingLimited": ("False", "DesiredWithinRange")}
        assert ("SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target") in rig.events()


async def test_without_metrics_nothing_is_scaled_and_the_reason_is_told() -> None:
    client = MetricsClient()
    async with Rig(reconcile.controller, client=client) as rig:
        client.broken = True
        await scaled(rig)
        await rig.settle()
        assert client.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 2
        assert conditions(client.all(HORIZONTAL_POD_AUTOSCALERS)[0])["ScalingActive"] == ("False", "FailedGetResourceMetric")
        assert ("FailedGetResourceMetric",
                "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: "
                "the server could not find the requested resource (get pods.metrics.k8s.io)") in rig.events()
        writes = len(client.actions)
        await rig.settle(60)
        assert [item for item in client.actions[writes:] if item.resource == HORIZONTAL_POD_AUTOSCALERS] == []


async def test_the_limits_hold_also_without_metrics() -> None:
    client = MetricsClient()
    async with Rig(reconcile.controller, client=client) as rig:
        client.broken = True
        await scaled(rig, minReplicas=3)
        await rig.settle()
        assert client.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 3


async def test_two_autoscalers_of_the_same_pods_do_nothing() -> None:
    client = MetricsClient()
    async with Rig(reconcile.controller, client=client) as rig:
        client.cpu = 500
        await scaled(rig)
        await rig.client.create(HORIZONTAL_POD_AUTOSCALERS, {
            **client.all(HORIZONTAL_POD_AUTOSCALERS)[0], "metadata": {"name": "other", "namespace": "default"}})
        await rig.settle(31)
        assert {conditions(item)["ScalingActive"] for item in client.all(HORIZONTAL_POD_AUTOSCALERS)} == {("False", "AmbiguousSelector")}
