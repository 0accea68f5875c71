"""What one pass of the autoscaler comes to: replicas, conditions and events, with the words people search for."""
from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from metric_client import MetricsClient
from rig import Rig, workload

from kubepy.api.resource import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.controllers.autoscale import pace, reconcile

TARGET: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
NOT_FOUND = "the server could not find the requested resource"
UNABLE = "the HPA was unable to compute the replica count: "
UNSCALED = "the HPA controller was unable to get the target's current scale: "


def resource(**target: Any) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", "target": target or {"type": "Utilization", "averageUtilization": 50}}}


def container(name: str) -> Object:
    return {"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": name, "target": {"type": "Utilization", "averageUtilization": 50}}}


def of_pods(name: str) -> Object:
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": "10"}}}


def of_object(name: str, **target: str) -> Object:
    about = {"apiVersion": "v1", "kind": "Service", "name": "shop"}
    return {"type": "Object", "object": {"metric": {"name": name}, "describedObject": about, "target": target}}


def external(name: str, labels: dict[str, str] | None = None, **target: str) -> Object:
    selector = {"selector": {"matchLabels": labels}} if labels else {}
    return {"type": "External", "external": {"metric": {"name": name, **selector}, "target": target}}


class Case(NamedTuple):
    """Two pods of one core each are there unless `replicas` says otherwise, and use `cpu` thousandths each."""

    spec: Object
    after: int
    conditions: dict[str, tuple[str, str, str]]
    events: list[tuple[str, str]]
    cpu: int = 500
    replicas: int = 2
    values: dict[str, int] = {}  # noqa: RUF012
    client: dict[str, Any] = {}  # noqa: RUF012
    metrics: list[str] = ["Resource"]  # noqa: RUF012


GOT = ("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
READY = ("True", "ReadyForNewScale", "recommended size matches current size")
WITHIN = ("False", "DesiredWithinRange", "the desired count is within the acceptable range")
CPU = "cpu resource utilization (percentage of request)"


def rescaled(count: int) -> tuple[str, str, str]:
    return "True", "SucceededRescale", f"the HPA controller was able to update the target scale to {count}"


def valid(name: str) -> tuple[str, str, str]:
    return "True", "ValidMetricFound", f"the HPA was able to successfully calculate a replica count from {name}"


def grown(count: int, name: str) -> tuple[str, str]:
    return "SuccessfulRescale", f"New size: {count}; reason: {name} above target"


def lost(reason: str, told: str, whole: str, invalid: str = "1 invalid out of 1") -> list[tuple[str, str]]:
    return [(reason, told), ("FailedComputeMetricsReplicas", f"invalid metrics ({invalid}), first error is: {whole}{told}")]


def active(reason: str, told: str) -> dict[str, tuple[str, str, str]]:
    return {"AbleToScale": GOT, "ScalingActive": ("False", reason, f"{UNABLE}{told}")}


NO_CPU = f"failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: {NOT_FOUND} (get pods.metrics.k8s.io)"  # noqa: E501
NO_CONTAINER = "failed to get cpu utilization: unable to get metrics for resource cpu: container x not present in metrics for pod default/a"
NO_PODS_METRIC = f"unable to get metric gone: unable to fetch metrics from custom metrics API: {NOT_FOUND}"
NO_OBJECT = f"unable to get metric gone: Service on default shop/unable to fetch metrics from custom metrics API: {NOT_FOUND}"
NO_EXTERNAL = ("unable to get external metric default/gone/&LabelSelector{MatchLabels:map[string]string{queue: mail,},"
               f"MatchExpressions:[]LabelSelectorRequirement{{}},}}: unable to fetch metrics from external metrics API: {NOT_FOUND}")
CASES: dict[str, Case] = {
    "enough": Case({}, 2, {"AbleToScale": READY, "ScalingActive": valid(CPU), "ScalingLimited": WITHIN}, []),
    "more is asked for": Case({}, 4, {"AbleToScale": rescaled(4), "ScalingActive": valid(CPU), "ScalingLimited": WITHIN},
                              [grown(4, CPU)], cpu=900),
    "more than may be": Case({"maxReplicas": 3}, 3, {
        "AbleToScale": rescaled(3), "ScalingActive": valid(CPU),
        "ScalingLimited": ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")},
        [grown(3, CPU)], cpu=900),
    "more than may be at once": Case({}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid(CPU),
        "ScalingLimited": ("True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")},
        [grown(4, CPU)], cpu=2000),
    "less, but not yet": Case({}, 2, {
        "AbleToScale": ("True", "ScaleDownStabilized",
                        "recent recommendations were higher than current one, applying the highest recent recommendation"),
        "ScalingActive": valid(CPU), "ScalingLimited": WITHIN}, [], cpu=10),
    "less, at once": Case({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}, 1, {
        "AbleToScale": rescaled(1), "ScalingActive": valid(CPU), "ScalingLimited": WITHIN},
        [("SuccessfulRescale", "New size: 1; reason: All metrics below target")], cpu=10),
    "less than may be": Case({"minReplicas": 2, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}, 2, {
        "AbleToScale": READY, "ScalingActive": valid(CPU),
        "ScalingLimited": ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")}, [], cpu=10),
    "within a tolerance of its own": Case({"behavior": {"scaleUp": {"tolerance": "1"}}}, 2, {
        "AbleToScale": READY, "ScalingActive": valid(CPU), "ScalingLimited": WITHIN}, [], cpu=900),
    "a value of each pod": Case({"metrics": [resource(type="AverageValue", averageValue="300m")]}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid("cpu resource"), "ScalingLimited": WITHIN}, [grown(4, "cpu resource")]),
    "one container": Case({"metrics": [container("c")]}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid(f"cpu container {CPU[4:]}"), "ScalingLimited": WITHIN},
        [grown(4, f"cpu container {CPU[4:]}")], cpu=900, metrics=["ContainerResource"]),
    "a metric of its pods": Case({"metrics": [of_pods("requests")]}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid("pods metric requests"), "ScalingLimited": WITHIN},
        [grown(4, "pods metric requests")], values={"requests": 20_000}, metrics=["Pods"]),
    "a value of another object": Case({"metrics": [of_object("hits", type="Value", value="10")]}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid("Service metric hits"), "ScalingLimited": WITHIN},
        [grown(4, "Service metric hits")], values={"hits": 20_000}, metrics=["Object"]),
    "another object's value shared by its pods": Case({"metrics": [of_object("hits", type="AverageValue", averageValue="10")]}, 3, {
        "AbleToScale": rescaled(3), "ScalingActive": valid("external metric hits(nil)"), "ScalingLimited": WITHIN},
        [grown(3, "external metric hits(nil)")], values={"hits": 30_000}, metrics=["Object"]),
    "an external value": Case({"metrics": [external("waiting", type="AverageValue", averageValue="10")]}, 3, {
        "AbleToScale": rescaled(3), "ScalingActive": valid("external metric waiting(nil)"), "ScalingLimited": WITHIN},
        [grown(3, "external metric waiting(nil)")], values={"waiting": 30_000}, metrics=["External"]),
    "the most that any metric asks for": Case({"metrics": [resource(), of_pods("requests")]}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid("pods metric requests"), "ScalingLimited": WITHIN},
        [grown(4, "pods metric requests")], values={"requests": 20_000}, metrics=["Resource", "Pods"]),
    "more, though one metric is lost": Case({"metrics": [of_pods("gone"), resource()]}, 4, {
        "AbleToScale": rescaled(4), "ScalingActive": valid(CPU), "ScalingLimited": WITHIN},
        [("FailedGetPodsMetric", NO_PODS_METRIC), grown(4, CPU)], cpu=900, metrics=["", "Resource"]),
    "not less while one metric is lost": Case(
        {"metrics": [resource(), of_pods("gone")], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}, 2,
        active("FailedGetPodsMetric", NO_PODS_METRIC),
        lost("FailedGetPodsMetric", NO_PODS_METRIC, "failed to get pods metric value: ", "1 invalid out of 2"), cpu=10,
        metrics=["Resource", ""]),
    "no CPU metrics": Case({}, 2, active("FailedGetResourceMetric", NO_CPU),
                           lost("FailedGetResourceMetric", NO_CPU, "failed to get cpu resource metric value: "),
                           client={"broken": True}, metrics=[""]),
    "no such container": Case({"metrics": [container("x")]}, 2, active("FailedGetContainerResourceMetric", NO_CONTAINER),
                              lost("FailedGetContainerResourceMetric", NO_CONTAINER, "failed to get x container metric value: "),
                              metrics=[""]),
    "no value of another object": Case({"metrics": [of_object("gone", type="Value", value="1")]}, 2,
                                       active("FailedGetObjectMetric", NO_OBJECT),
                                       lost("FailedGetObjectMetric", NO_OBJECT, "failed to get object metric value: "), metrics=[""]),
    "no value to share": Case({"metrics": [of_object("gone", type="AverageValue", averageValue="1")]}, 2,
                              active("FailedGetObjectMetric", NO_OBJECT),
                              lost("FailedGetObjectMetric", NO_OBJECT,
                                   "failed to get object metric value: failed to get gone object metric: "), metrics=[""]),
    "no external value": Case({"metrics": [external("gone", {"queue": "mail"}, type="Value", value="1")]}, 2,
                              active("FailedGetExternalMetric", NO_EXTERNAL),
                              lost("FailedGetExternalMetric", NO_EXTERNAL,
                                   "failed to get gone external metric value: failed to get gone external metric: "), metrics=[""]),
    "too many to begin with": Case({"maxReplicas": 3}, 3, {"AbleToScale": rescaled(3)}, [
        ("SuccessfulRescale", "New size: 3; reason: Current number of replicas above Spec.MaxReplicas")], replicas=5, metrics=[]),
    "too few to begin with": Case({"minReplicas": 3}, 3, {"AbleToScale": rescaled(3)}, [
        ("SuccessfulRescale", "New size: 3; reason: Current number of replicas below Spec.MinReplicas")], replicas=1, metrics=[]),
    "switched off by zero replicas": Case({}, 0, {
        "AbleToScale": GOT, "ScalingActive": ("False", "ScalingDisabled",
                                              "scaling is disabled since the replica count of the target is zero")}, [],
        replicas=0, metrics=[]),
    "no selector": Case({}, 2, {
        "AbleToScale": GOT, "ScalingActive": ("False", "InvalidSelector", "the HPA target's scale is missing a selector")},
        [("SelectorRequired", "selector is required"), ("FailedComputeMetricsReplicas", "selector is required")],
        client={"selector": ""}, metrics=[]),
    "the target is not there": Case({"scaleTargetRef": {**TARGET, "name": "gone"}}, 2, {
        "AbleToScale": ("False", "FailedGetScale", f'{UNSCALED}deployments.apps "gone" not found')},
        [("FailedGetScale", 'deployments.apps "gone" not found')], metrics=[]),
    "the target's kind is not there": Case({"scaleTargetRef": {**TARGET, "kind": "Deploymen"}}, 2, {
        "AbleToScale": ("False", "FailedGetScale", f'{UNSCALED}no matches for kind "Deploymen" in group "apps"')},
        [("FailedGetScale", 'no matches for kind "Deploymen" in group "apps"')], metrics=[]),
    "the target's version is none": Case({"scaleTargetRef": {**TARGET, "apiVersion": "a/b/c"}}, 2, {
        "AbleToScale": ("False", "FailedGetScale", f"{UNSCALED}unexpected GroupVersion string: a/b/c")},
        [("FailedGetScale", "unexpected GroupVersion string: a/b/c")], metrics=[]),
    "the target by an old version of its group": Case({"scaleTargetRef": {**TARGET, "apiVersion": "apps/v1beta1"}}, 2, {
        "AbleToScale": READY, "ScalingActive": valid(CPU), "ScalingLimited": WITHIN}, []),
    "scaling is refused": Case({}, 2, {
        "AbleToScale": ("False", "FailedUpdateScale", "the HPA controller was unable to update the target scale: not allowed"),
        "ScalingActive": valid(CPU), "ScalingLimited": WITHIN},
        [("FailedRescale", f"New size: 4; reason: {CPU} above target; error: not allowed")], cpu=900, client={"refuse_scale": True}),
}


def pod(name: str, now: float) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "startTime": format_time(now - 3600), "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": format_time(now - 3000)}]}}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_one_pass_with(case: Case) -> None:
    client = MetricsClient()
    client.cpu, client.values = case.cpu, case.values
    for name, value in case.client.items():
        setattr(client, name, value)
    async with Rig(reconcile.controller, client=client) as rig:
        await client.create(DEPLOYMENTS, workload("Deployment", replicas=case.replicas))
        client.load(PODS, *(pod(name, rig.clock.now()) for name in "abcde"[:case.replicas]))
        await client.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "h", "namespace": "default"}, "spec": {
            "scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 10, "metrics": [resource()], **case.spec}})
        await rig.settle()
        assert client.all(DEPLOYMENTS)[0]["spec"]["replicas"] == case.after
        [hpa] = client.all(HORIZONTAL_POD_AUTOSCALERS)
        assert {item["type"]: (item["status"], item["reason"], item["message"]) for item in hpa["status"]["conditions"]} == case.conditions
        assert sorted(rig.events()) == sorted(case.events)
        assert [item["type"] for item in hpa["status"].get("currentMetrics") or ()] == case.metrics
        assert ("lastScaleTime" in hpa["status"]) is (case.after != case.replicas)
        if case.conditions["AbleToScale"][0] == "True":
            assert (hpa["status"]["currentReplicas"], hpa["status"]["desiredReplicas"]) in {
                (case.replicas, case.after), (case.replicas, 0)}


@pytest.mark.parametrize(("direction", "start", "percent", "expected"), [
    pytest.param("scaleUp", 100, 10, 111, id="up, rounded up from what a float makes of 110"),
    pytest.param("scaleUp", 1, 1, 2, id="up by at least one"),
    pytest.param("scaleDown", 10, 90, 0, id="down, cut off from what a float makes of 1"),
    pytest.param("scaleDown", 10, 25, 7, id="down, rounded down"),
])
def test_percentages_are_rounded_as_floats_are(direction: str, start: int, percent: int, expected: int) -> None:
    rule = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": percent, "periodSeconds": 60}]}
    limit = pace.up_limit if direction == "scaleUp" else pace.down_limit
    assert limit(start, rule, pace.History(), 0.0) == expected
