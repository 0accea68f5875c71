"""ReplicaSet: right number of pods, never twice, the right ones first."""
from __future__ import annotations

import pytest
from rig import Rig, workload

from kubepy.api.errors import Forbidden
from kubepy.api.resource import PODS, REPLICA_SETS
from kubepy.api.types import Object
from kubepy.client.memory import Action
from kubepy.controllers.kit.replica import victims
from kubepy.controllers.replicaset import replicaset

NOW = 1_700_000_000.0


def pod(uid: str, node: str = "n1", phase: str = "Running", ready: bool = True, cost: str = "0", restarts: int = 0,
        created: str = "2023-11-01T00:00:00Z") -> Object:
    return {"metadata": {"uid": uid, "creationTimestamp": created,
                         "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}},
            "spec": {"nodeName": node},
            "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts}],
                       "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": created}]}}


@pytest.mark.parametrize(("first", "ranks"), [
    pytest.param(pod("x", node=""), {}, id="an unassigned pod goes before an assigned one"),
    pytest.param(pod("x", phase="Pending", ready=False), {}, id="a pending pod goes before a running one"),
    pytest.param(pod("x", ready=False), {}, id="an unready pod goes before a ready one"),
    pytest.param(pod("x", cost="-5"), {}, id="a cheap pod goes before a dear one"),
    pytest.param(pod("x"), {"x": 3, "a": 1}, id="a pod on a crowded node goes first"),
    pytest.param(pod("x", created="2023-11-14T00:00:00Z"), {}, id="a pod that became ready much later goes first"),
    pytest.param(pod("x", restarts=4), {}, id="a pod that restarts goes before a steady one"),
])
def test_victims(first: Object, ranks: dict[str, int]) -> None:
    assert [found["metadata"]["uid"] for found in victims([pod("a"), first], 1, ranks, NOW)] == ["x"]


async def test_it_creates_what_is_missing_and_reports() -> None:
    async with Rig(replicaset) as rig:
        await rig.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=3))
        await rig.settle()
        pods = rig.client.all(PODS)
        assert len(pods) == 3
        owner = pods[0]["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("ReplicaSet", True, True)
        assert len([reason for reason, _ in rig.events() if reason == "SuccessfulCreate"]) == 3
        await rig.run_pods()
        await rig.settle()
        status = rig.client.all(REPLICA_SETS)[0]["status"]
        assert status == {"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 1,
                          "terminatingReplicas": 0}


async def test_a_deleted_pod_is_replaced_and_a_surplus_removed() -> None:
    async with Rig(replicaset) as rig:
        await rig.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=2))
        await rig.settle()
        victim = rig.client.all(PODS)[0]["metadata"]["name"]
        await rig.client.delete(PODS, victim, "default", grace_period_seconds=0)
        await rig.settle()
        assert len(rig.client.all(PODS)) == 2
        await rig.client.patch(REPLICA_SETS, "web", {"spec": {"replicas": 0}}, "default")
        await rig.settle()
        assert rig.client.all(PODS) == []


async def test_an_orphan_that_matches_is_adopted_and_one_that_stops_matching_released() -> None:
    async with Rig(replicaset) as rig:
        await rig.client.create(PODS, {"metadata": {"name": "stray", "namespace": "default", "labels": {"app": "web"}}, "spec": {}})
        await rig.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=2))
        await rig.settle()
        assert len(rig.client.all(PODS)) == 2
        await rig.client.patch(PODS, "stray", {"metadata": {"labels": {"app": "other"}}}, "default")
        await rig.settle()
        stray = await rig.client.get(PODS, "stray", "default")
        assert not stray["metadata"].get("ownerReferences")
        assert len(rig.client.all(PODS)) == 3


async def test_a_refused_creation_is_reported_and_tried_again() -> None:
    async with Rig(replicaset) as rig:
        allowed = 1

        def refuse(action: Action) -> None:
            nonlocal allowed
            if action.verb == "create" and action.resource == PODS:
                if not allowed:
                    raise Forbidden("exceeded quota")
                allowed -= 1

        rig.client.before = refuse
        await rig.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=5))
        await rig.settle()
        assert len(rig.client.all(PODS)) == 1
        [failure] = rig.client.all(REPLICA_SETS)[0]["status"]["conditions"]
        assert (failure["type"], failure["reason"], failure["message"]) == ("ReplicaFailure", "FailedCreate", "exceeded quota")
        rig.client.before = None
        await rig.settle(30)
        assert len(rig.client.all(PODS)) == 5
        await rig.settle()
        assert "conditions" not in rig.client.all(REPLICA_SETS)[0]["status"]


async def test_availability_is_noticed_when_min_ready_seconds_have_passed() -> None:
    async with Rig(replicaset) as rig:
        await rig.client.create(REPLICA_SETS, workload("ReplicaSet", replicas=1, minReadySeconds=30))
        await rig.settle()
        await rig.run_pods()
        await rig.settle()
        assert "availableReplicas" not in rig.client.all(REPLICA_SETS)[0]["status"]
        await rig.settle(30)
        assert rig.client.all(REPLICA_SETS)[0]["status"]["availableReplicas"] == 1
