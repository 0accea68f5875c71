"""Whatever fails on the way, controllers end where they should: nothing twice, nothing left over, nothing written once it is right.

Writes fail before or after they have happened, watches break, history is lost, pods die, users change their minds.
"""
from __future__ import annotations

import random

import pytest
from chaos import Flaky, chaos, insist, settled
from rig import Rig, workload

from kubepy.api.pod import is_active
from kubepy.api.resource import CONTROLLER_REVISIONS, DAEMON_SETS, DEPLOYMENTS, JOBS, NODES, PODS, REPLICA_SETS, STATEFUL_SETS
from kubepy.api.types import Object
from kubepy.controllers.daemonset import reconcile as daemonset
from kubepy.controllers.deployment import reconcile as deployment
from kubepy.controllers.job import reconcile as job
from kubepy.controllers.replicaset import replicaset
from kubepy.controllers.statefulset import reconcile as statefulset

SEEDS = range(4)


def active(rig: Rig) -> list[Object]:
    return [pod for pod in rig.client.all(PODS) if is_active(pod)]


def images(rig: Rig) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in active(rig)}


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


@pytest.mark.parametrize("seed", SEEDS)
async def test_deployment(seed: int) -> None:
    async with Rig(deployment.controller, replicaset, client=Flaky(seed)) as rig:
        wanted = {"replicas": 3, "image": "a"}
        await rig.client.create(DEPLOYMENTS, workload("Deployment", replicas=3, revisionHistoryLimit=2, progressDeadlineSeconds=600))

        async def user(dice: random.Random) -> None:
            if dice.random() < 0.4:
                wanted["replicas"] = dice.randrange(0, 7)
                await insist(rig, lambda: rig.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": wanted["replicas"]}}, "default"))
            if dice.random() < 0.3:
                wanted["image"] = dice.choice("abcd")
                await insist(rig, lambda: rig.client.patch(DEPLOYMENTS, "web", image(str(wanted["image"])), "default"))

        await chaos(rig, user)
        assert len(active(rig)) == wanted["replicas"]
        assert images(rig) <= {wanted["image"]}
        found = rig.client.all(REPLICA_SETS)
        assert sum(item["spec"]["replicas"] for item in found) == wanted["replicas"]
        assert len(found) <= 3
        status = rig.client.all(DEPLOYMENTS)[0]["status"]
        assert status.get("availableReplicas", 0) == wanted["replicas"]
        await settled(rig)


@pytest.mark.parametrize("seed", SEEDS)
async def test_statefulset(seed: int) -> None:
    async with Rig(statefulset.controller, client=Flaky(seed)) as rig:
        wanted = {"replicas": 3, "image": "a"}
        await rig.client.create(STATEFUL_SETS, workload("StatefulSet", replicas=3, serviceName="web"))

        async def user(dice: random.Random) -> None:
            names = [pod["metadata"]["name"] for pod in rig.client.all(PODS)]
            assert len(names) == len(set(names))
            if dice.random() < 0.3:
                wanted["replicas"] = dice.randrange(0, 5)
                await insist(rig, lambda: rig.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": wanted["replicas"]}}, "default"))
            if dice.random() < 0.2:
                wanted["image"] = dice.choice("abc")
                await insist(rig, lambda: rig.client.patch(STATEFUL_SETS, "web", image(str(wanted["image"])), "default"))

        await chaos(rig, user)
        assert {pod["metadata"]["name"] for pod in active(rig)} == {f"web-{number}" for number in range(int(wanted["replicas"]))}
        assert images(rig) <= {wanted["image"]}
        await settled(rig)


@pytest.mark.parametrize("seed", SEEDS)
async def test_daemonset(seed: int) -> None:
    async with Rig(daemonset.controller, client=Flaky(seed)) as rig:
        rig.client.load(NODES, *({"metadata": {"name": f"n{number}"}, "spec": {}} for number in range(5)))
        wanted = {"image": "a"}
        await rig.client.create(DAEMON_SETS, workload("DaemonSet"))

        async def user(dice: random.Random) -> None:
            if dice.random() < 0.3:
                wanted["image"] = dice.choice("abc")
                await insist(rig, lambda: rig.client.patch(DAEMON_SETS, "web", image(wanted["image"]), "default"))
            if dice.random() < 0.3:
                name, off = f"n{dice.randrange(5)}", dice.random() < 0.5
                taints = [{"key": "x", "effect": "NoExecute"}] if off else None
                await insist(rig, lambda: rig.client.patch(NODES, name, {"spec": {"taints": taints}}))

        await chaos(rig, user)
        fitting = sorted(node["metadata"]["name"] for node in rig.client.all(NODES) if not node["spec"].get("taints"))
        assert sorted(pod["spec"]["nodeName"] for pod in active(rig)) == fitting
        assert images(rig) <= {wanted["image"]}
        assert len(rig.client.all(CONTROLLER_REVISIONS)) <= 3
        await settled(rig)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
async def test_job(seed: int, mode: str) -> None:
    async with Rig(job.controller, client=Flaky(seed)) as rig:
        body = workload("Job", "sum", api="batch/v1", parallelism=3, completions=8, completionMode=mode, backoffLimit=6)
        body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        await rig.client.create(JOBS, body)

        async def user(dice: random.Random) -> None:
            return None

        await chaos(rig, user, ending="Succeeded")
        status = rig.client.all(JOBS)[0]["status"]
        assert [item["type"] for item in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
        succeeded = [pod for pod in rig.client.all(PODS) if pod["status"]["phase"] == "Succeeded"]
        assert status["succeeded"] == 8
        if mode == "NonIndexed":
            assert len(succeeded) >= 8  # an answer that was lost may have made one more than the controller knew of
        else:
            assert status["completedIndexes"] == "0-7"
        assert not any(pod["metadata"].get("finalizers") for pod in rig.client.all(PODS))
        await settled(rig)
