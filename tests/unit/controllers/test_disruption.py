"""Disruption budgets and quotas: what is allowed, what is used."""
from __future__ import annotations

from typing import Any

import orjson
import pytest
from rig import Rig

from kubepy.api.resource import (
    CONFIGMAPS,
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SERVICES,
)
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.memory import MemoryClient
from kubepy.controllers import disruption, quota


def budget(**spec: Any) -> Object:
    return {"metadata": {"name": "b", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}


@pytest.mark.parametrize(("spec", "pods", "scale", "expected"), [
    pytest.param({"minAvailable": 2}, 3, 0, (3, 2), id="a number of the pods there are"),
    pytest.param({"minAvailable": "50%"}, 3, 5, (5, 3), id="a part of the scale, rounded up"),
    pytest.param({"maxUnavailable": 1}, 3, 5, (5, 4), id="all but one"),
    pytest.param({"maxUnavailable": "30%"}, 3, 5, (5, 3), id="all but a part, rounded up"),
    pytest.param({"maxUnavailable": 9}, 3, 5, (5, 0), id="everything may go"),
])
def test_expectations(spec: Object, pods: int, scale: int, expected: tuple[int, int]) -> None:
    assert disruption.expect(budget(**spec), pods, scale) == expected


def pod(name: str, owner: Object | None = None, ready: bool = True, **spec: Any) -> Object:
    references = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
                   "controller": True}] if owner else []
    return {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, "ownerReferences": references},
            "spec": {"containers": [], **spec},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


async def test_a_budget_follows_scale_health_and_granted_evictions() -> None:
    async with Rig(disruption.controller) as rig:
        deployment = await rig.client.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 4}})
        owner = await rig.client.create(REPLICA_SETS, {"metadata": {"name": "r", "namespace": "default", "ownerReferences": [
            {"kind": "Deployment", "name": "d", "uid": deployment["metadata"]["uid"], "controller": True}]}, "spec": {"replicas": 4}})
        rig.client.load(PODS, *(pod(f"p{number}", owner, number != 3) for number in range(4)))
        await rig.client.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=2))
        await rig.settle()
        status = rig.client.all(POD_DISRUPTION_BUDGETS)[0]["status"]
        assert (status["expectedPods"], status["desiredHealthy"], status["currentHealthy"], status["disruptionsAllowed"]) == (4, 2, 3, 1)
        assert status["conditions"][0]["reason"] == "SufficientPods"
        granted = {**status, "disruptionsAllowed": 0, "disruptedPods": {"p0": format_time(rig.clock.now())}}
        await rig.client.patch(POD_DISRUPTION_BUDGETS, "b", {"status": granted}, "default", subresource="status")
        await rig.settle()
        status = rig.client.all(POD_DISRUPTION_BUDGETS)[0]["status"]
        assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 0)
        await rig.settle(125)
        status = rig.client.all(POD_DISRUPTION_BUDGETS)[0]["status"]
        assert (status["currentHealthy"], status["disruptionsAllowed"]) == (3, 1)
        assert "disruptedPods" not in status


class Discoverable(MemoryClient):
    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        if path == "/apis":
            return orjson.dumps({"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]})
        if path == "/api/v1":
            return orjson.dumps({"resources": []})
        return orjson.dumps({"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True,
                                            "verbs": ["list", "watch", "create"]}]})


async def test_pods_that_nobody_manages_are_told_of_where_a_scale_is_needed() -> None:
    async with Rig(disruption.controller) as rig:
        rig.client.load(PODS, pod("bare"))
        await rig.client.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
        await rig.settle()
        assert [reason for reason, _ in rig.events()] == ["UnmanagedPods"]
        assert rig.client.all(POD_DISRUPTION_BUDGETS)[0]["status"]["expectedPods"] == 0


async def test_a_quota_counts_what_is_there_and_gives_back_what_has_gone() -> None:
    hard = {"pods": "5", "requests.cpu": "2", "services": "3", "configmaps": "9", "count/deployments.apps": "4"}
    resources = {"requests": {"cpu": "250m"}}
    async with Rig(quota.controller, client=Discoverable()) as rig:
        rig.client.load(PODS, *(pod(f"p{number}", containers=[{"name": "c", "resources": resources}]) for number in range(3)))
        await rig.client.create(SERVICES, {"metadata": {"name": "s", "namespace": "default"}, "spec": {}})
        await rig.client.create(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "default"}})
        for number in range(2):
            await rig.client.create(DEPLOYMENTS, {"metadata": {"name": f"d{number}", "namespace": "default"}, "spec": {}})
        await rig.client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}})
        await rig.settle(1)
        status = rig.client.all(RESOURCE_QUOTAS)[0]["status"]
        assert status["hard"] == hard
        assert status["used"] == {"pods": "3", "requests.cpu": "750m", "services": "1", "configmaps": "1", "count/deployments.apps": "2"}
        await rig.client.delete(PODS, "p0", "default", grace_period_seconds=0)
        await rig.set_ready(rig.client.all(PODS)[0], phase="Succeeded")
        await rig.client.delete(DEPLOYMENTS, "d0", "default")
        await rig.settle(1)
        used = rig.client.all(RESOURCE_QUOTAS)[0]["status"]["used"]
        assert used == {"pods": "1", "requests.cpu": "250m", "services": "1", "configmaps": "1", "count/deployments.apps": "1"}
