"""Deployments: arithmetic of rollouts in tables, whole rollouts on the memory API."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig, workload

from kubepy.api.resource import DEPLOYMENTS, PODS, REPLICA_SETS
from kubepy.api.types import Object
from kubepy.controllers.deployment import reconcile, rollout
from kubepy.controllers.kit.condition import find
from kubepy.controllers.replicaset import replicaset


def deployment(replicas: int, surge: Any = 1, unavailable: Any = 0) -> Object:
    return {"metadata": {"name": "d"}, "spec": {"replicas": replicas, "strategy": {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}}


def rs(name: str, replicas: int, available: int | None = None, desired: int | None = None, maximum: int | None = None) -> Object:
    annotations = {}
    if desired is not None:
        annotations = {rollout.DESIRED: str(desired), rollout.MAXIMUM: str(maximum if maximum is not None else desired)}
    return {"metadata": {"name": name, "creationTimestamp": name, "annotations": annotations}, "spec": {"replicas": replicas},
            "status": {"availableReplicas": replicas if available is None else available}}


@pytest.mark.parametrize(("surge", "unavailable", "replicas", "expected"), [
    pytest.param("25%", "25%", 10, (3, 2), id="surge rounds up, unavailable down"),
    pytest.param("25%", "25%", 1, (1, 0), id="one replica is replaced by surging"),
    pytest.param("0%", "0%", 10, (0, 1), id="both zero would never move"),
    pytest.param(2, 3, 10, (2, 3), id="plain numbers are taken as they are"),
    pytest.param(0, "1%", 10, (0, 1), id="rounding to zero would never move either"),
])
def test_fenceposts(surge: Any, unavailable: Any, replicas: int, expected: tuple[int, int]) -> None:
    assert rollout.fenceposts(deployment(replicas, surge, unavailable)) == expected


@pytest.mark.parametrize(("d", "new", "old", "expected"), [
    pytest.param(deployment(10, 2, 0), 0, [10], 2, id="grows by the surge"),
    pytest.param(deployment(10, 2, 0), 2, [10], 2, id="waits when the ceiling is reached"),
    pytest.param(deployment(10, 2, 0), 2, [8], 4, id="follows the old ones down"),
    pytest.param(deployment(10, 5, 0), 8, [1], 10, id="never above what is wanted"),
    pytest.param(deployment(3, 1, 0), 5, [], 3, id="shrinks at once"),
])
def test_size_of_the_new_set(d: Object, new: int, old: list[int], expected: int) -> None:
    fresh = rs("9", new)
    assert rollout.plan_new(d, fresh, [*(rs(str(i), size) for i, size in enumerate(old)), fresh]) == expected


@pytest.mark.parametrize(("d", "new", "old", "expected"), [
    pytest.param(deployment(10, 2, 0), rs("9", 2, 2), [rs("1", 10)], {"1": 8}, id="as many as the new ones that are available"),
    pytest.param(deployment(10, 2, 0), rs("9", 2, 0), [rs("1", 10)], {}, id="none while the new ones are not available"),
    pytest.param(deployment(10, 0, 2), rs("9", 0), [rs("1", 10)], {"1": 8}, id="at once what may be unavailable"),
    pytest.param(deployment(10, 0, 3), rs("9", 0), [rs("1", 5, 2), rs("2", 5)], {"1": 2}, id="unhealthy ones go first, oldest set first"),
])
def test_sizes_of_the_old_sets(d: Object, new: Object, old: list[Object], expected: dict[str, int]) -> None:
    assert {step.replica_set["metadata"]["name"]: step.replicas for step in rollout.plan_old(d, new, old)} == expected


@pytest.mark.parametrize(("d", "new", "old", "expected"), [
    pytest.param(deployment(20, 0, 1), rs("9", 5, desired=10), [rs("1", 5, desired=10)], {"1": 10, "9": 10}, id="two equal sets share"),
    pytest.param(deployment(5, 0, 1), rs("9", 2, desired=10), [rs("1", 8, desired=10)], {"1": 4, "9": 1}, id="shrinking in proportion"),
    pytest.param(deployment(0, 0, 1), rs("9", 2, desired=10), [rs("1", 8, desired=10)], {"1": 0, "9": 0}, id="to nothing"),
    pytest.param(deployment(7, 0, 1), rs("9", 5, desired=5), [], {"9": 7}, id="one set takes all"),
])
def test_proportional_scaling(d: Object, new: Object, old: list[Object], expected: dict[str, int]) -> None:
    assert {step.replica_set["metadata"]["name"]: step.replicas for step in rollout.plan_scaling(d, new, old)} == expected


async def roll_out(rig: Rig, passes: int = 12) -> None:
    for _ in range(passes):
        await rig.run_pods()
        await rig.settle()


def sizes(rig: Rig) -> dict[str, int]:
    return {item["spec"]["template"]["spec"]["containers"][0]["image"]: item["spec"]["replicas"] for item in rig.client.all(REPLICA_SETS)}


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


def reason(rig: Rig, type: str = "Progressing") -> str:
    found = find(rig.client.all(DEPLOYMENTS)[0]["status"]["conditions"], type)
    return found["reason"] if found else ""


async def test_a_rollout_and_its_undo() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=4, progressDeadlineSeconds=600, revisionHistoryLimit=10))
        await roll_out(rig, 3)
        assert reason(rig) == "NewReplicaSetAvailable"
        await rig.client.patch(DEPLOYMENTS, "web", image("b"), "default")
        await rig.settle()
        # 4 replicas: surge 1, unavailable 1
        assert sizes(rig) == {"a": 3, "b": 2}
        assert reason(rig) == "ReplicaSetUpdated"
        await roll_out(rig)
        assert sizes(rig) == {"a": 0, "b": 4}
        found = rig.client.all(DEPLOYMENTS)[0]
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        assert {key: value for key, value in found["status"].items() if key != "conditions"} == {
            "observedGeneration": 2, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4,
            "terminatingReplicas": 0}
        await rig.client.patch(DEPLOYMENTS, "web", image("a"), "default")
        await roll_out(rig)
        assert sizes(rig) == {"a": 4, "b": 0}
        back = next(item for item in rig.client.all(REPLICA_SETS) if item["spec"]["replicas"])
        assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        messages = [message for kind, message in rig.events() if kind == "ScalingReplicaSet"]
        assert messages[0] == f"Scaled up replica set {back['metadata']['name']} from 0 to 4"


async def test_a_recreated_deployment_starts_the_new_after_the_last_old_pod() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=2, strategy={"type": "Recreate"}))
        await rig.settle()
        for pod in rig.client.all(PODS):
            await rig.client.create(PODS, {"target": {"name": "n"}}, "default", name=pod["metadata"]["name"], subresource="binding")
        await roll_out(rig, 2)
        await rig.client.patch(DEPLOYMENTS, "web", image("b"), "default")
        await rig.settle()
        assert sizes(rig) == {"a": 0}
        await roll_out(rig, 3)
        assert sizes(rig) == {"a": 0, "b": 2}


async def test_a_paused_deployment_does_not_roll_but_scales() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=2, progressDeadlineSeconds=600))
        await roll_out(rig, 2)
        await rig.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": True, "replicas": 3, **image("b")["spec"]}}, "default")
        await roll_out(rig, 2)
        assert sizes(rig) == {"a": 3}
        assert reason(rig) == "DeploymentPaused"
        await rig.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}}, "default")
        await roll_out(rig)
        assert sizes(rig) == {"a": 0, "b": 3}


async def test_a_stuck_rollout_misses_its_deadline() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=1, progressDeadlineSeconds=60))
        await rig.settle()
        assert reason(rig, "Available") == "MinimumReplicasUnavailable"
        await rig.settle(90)
        assert reason(rig) == "ProgressDeadlineExceeded"
        await roll_out(rig, 2)
        assert reason(rig) == "NewReplicaSetAvailable"


async def test_old_sets_beyond_the_history_limit_are_removed() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=1, revisionHistoryLimit=1))
        for name in ("b", "c", "d"):
            await roll_out(rig, 4)
            await rig.client.patch(DEPLOYMENTS, "web", image(name), "default")
        await roll_out(rig, 6)
        assert sizes(rig) == {"c": 0, "d": 1}


async def test_nothing_is_written_when_nothing_changes() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=2, progressDeadlineSeconds=600))
        await roll_out(rig, 4)
        before = len(rig.client.actions)
        await rig.settle(1200)
        for runtime in rig.runtimes:
            runtime.queue.add("default/web")
        await rig.settle()
        assert rig.client.actions[before:] == []


def reports(rig: Rig) -> list[Object]:
    return [action.body["status"] for action in rig.client.actions if action.resource == DEPLOYMENTS and action.subresource == "status"]


async def test_the_first_report_waits_for_the_new_set_to_count_but_not_for_long() -> None:
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=1, progressDeadlineSeconds=600))
        await rig.settle(1)
        [made] = rig.client.all(REPLICA_SETS)
        assert reports(rig) == []
        made["status"] = {"replicas": 1, "observedGeneration": 1}
        await rig.client.update(REPLICA_SETS, made, subresource="status")
        await rig.settle(30)
        [report] = reports(rig)
        assert report["updatedReplicas"] == 1
        assert [item["type"] for item in report["conditions"]] == ["Available", "Progressing"]
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=1, progressDeadlineSeconds=600))
        await rig.settle(reconcile.REPORT_WAIT + 1)
        assert [report["observedGeneration"] for report in reports(rig)] == [1]
        assert reason(rig) == "NewReplicaSetCreated"


async def test_a_report_that_comes_back_wakes_nobody_but_whoever_changes_it_is_corrected() -> None:
    async with Rig(reconcile.controller, replicaset) as rig:
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=1, progressDeadlineSeconds=600))
        await roll_out(rig, 3)
        [found] = rig.client.all(DEPLOYMENTS)
        good = found["status"]
        found["status"] = {**good, "availableReplicas": 7}
        await rig.client.update(DEPLOYMENTS, found, subresource="status")
        await rig.settle()
        assert rig.client.all(DEPLOYMENTS)[0]["status"] == good
        [made] = rig.client.all(REPLICA_SETS)
        good = made["status"]
        made["status"] = {**good, "readyReplicas": 7}
        await rig.client.update(REPLICA_SETS, made, subresource="status")
        await rig.settle()
        assert rig.client.all(REPLICA_SETS)[0]["status"] == good
