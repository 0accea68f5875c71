"""Kinds that are stored as another version: there and back again nothing is lost."""
from __future__ import annotations

import copy

from kubepy.apiserver.registry.autoscaling.conversion import HorizontalPodAutoscalerConversion
from kubepy.apiserver.registry.events.event import EventConversion

AUTOSCALER = HorizontalPodAutoscalerConversion()


def v1(**spec: object) -> dict:
    return {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, **spec}}


def test_the_cpu_goal_of_v1_is_a_metric_of_v2() -> None:
    stored = AUTOSCALER.to_stored(v1(targetCPUUtilizationPercentage=70))
    assert stored["apiVersion"] == "autoscaling/v2"
    assert stored["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]
    assert AUTOSCALER.from_stored(stored)["spec"] == v1(targetCPUUtilizationPercentage=70)["spec"]


def test_what_v1_cannot_say_is_kept_in_annotations() -> None:
    stored = AUTOSCALER.to_stored(v1(targetCPUUtilizationPercentage=70))
    stored["spec"]["metrics"].append({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization",
                                                                                                   "averageUtilization": 50}}})
    stored["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 5, "selectPolicy": "Min"}}
    shown = AUTOSCALER.from_stored(copy.deepcopy(stored))
    assert set(shown["metadata"]["annotations"]) == {"autoscaling.alpha.kubernetes.io/metrics", "autoscaling.alpha.kubernetes.io/behavior"}
    back = AUTOSCALER.to_stored(shown)
    assert [metric["resource"]["name"] for metric in back["spec"]["metrics"]] == ["memory", "cpu"]  # upstream puts CPU last, too
    assert back["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 5
    assert "annotations" not in back["metadata"]


def test_a_new_event_is_an_old_one_in_other_words() -> None:
    conversion = EventConversion()
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"},
             "note": "told", "reason": "Because", "reportingController": "a.com/x", "reportingInstance": "x-1", "type": "Normal"}
    stored = conversion.to_stored(copy.deepcopy(event))
    assert (stored["apiVersion"], stored["message"], stored["involvedObject"]) == ("v1", "told", {"kind": "Pod", "name": "p"})
    assert (stored["reportingComponent"], "regarding" in stored, "note" in stored) == ("a.com/x", False, False)
    assert event.items() <= conversion.from_stored(stored).items()
