"""Whatever fails on the way, controllers end where they should: nothing twice, nothing left over, nothing written once it is right.

Writes fail before or after they have happened, watches break, history is lost, pods die, users change their minds.
"""
from __future__ import annotations

import random
from typing import Any

import pytest
from rig import Rig, workload

from kubepy.api.errors import ApiError, Conflict, InternalError, TooManyRequests
from kubepy.api.pod import is_active
from kubepy.api.resource import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from kubepy.api.types import Object
from kubepy.client.interface import PatchType, Propagation
from kubepy.client.memory import MemoryClient
from kubepy.controllers.daemonset import reconcile as daemonset
from kubepy.controllers.daemonset.eligible import node_of
from kubepy.controllers.deployment import reconcile as deployment
from kubepy.controllers.job import reconcile as job
from kubepy.controllers.replicaset import replicaset
from kubepy.controllers.statefulset import reconcile as statefulset

SEEDS = range(6)


class Flaky(MemoryClient):
    """While `rate` is above 0, that part of the writes fails: refused, lost before, or (worst) lost after they took effect."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.rate = 0.0
        self.failures = 0

    def _refuse(self) -> None:
        if self.random.random() < self.rate:
            self.failures += 1
            kind = self.random.randrange(4)
            if kind == 0:
                raise ConnectionError("reset before")
            raise (Conflict("changed"), InternalError("oops"), TooManyRequests("slow down"))[kind - 1]

    def _lose_answer(self) -> None:
        if self.random.random() < self.rate / 3:
            self.failures += 1
            raise ConnectionError("reset after")

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        self._refuse()
        made = await super().create(resource, obj, namespace, name=name, subresource=subresource, dry_run=dry_run)
        self._lose_answer()
        return made

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        self._refuse()
        made = await super().update(resource, obj, subresource=subresource)
        self._lose_answer()
        return made

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        self._refuse()
        made = await super().patch(resource, name, patch, namespace, type=type, subresource=subresource)
        self._lose_answer()
        return made

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None,
                     propagation: Propagation | None = None, uid: str | None = None, resource_version: str | None = None) -> Object:
        self._refuse()
        made = await super().delete(resource, name, namespace, grace_period_seconds=grace_period_seconds, propagation=propagation,
                                    uid=uid, resource_version=resource_version)
        self._lose_answer()
        return made


async def insist(rig: Rig, change: Any) -> None:
    """A user (or kubelet) tries until it works, or until it is moot."""
    for _ in range(20):
        try:
            await change()
            return
        except ConnectionError:
            continue
        except ApiError as error:
            if error.code == 404:
                return


async def kubelet(rig: Rig, chance: float = 1.0, ending: str = "") -> None:
    client = rig.client
    assert isinstance(client, Flaky)
    for pod in client.all(PODS):
        metadata = pod["metadata"]
        if client.random.random() > chance:
            continue
        if metadata.get("deletionTimestamp"):
            await insist(rig, lambda m=metadata: client.delete(PODS, m["name"], m["namespace"], grace_period_seconds=0))
        elif not pod["spec"].get("nodeName"):
            target = node_of(pod) or "n"
            await insist(rig, lambda m=metadata, t=target: MemoryClient.create(
                client, PODS, {"target": {"name": t}}, m["namespace"], name=m["name"], subresource="binding"))
        elif pod["status"].get("phase") == "Pending":
            await insist(rig, lambda p=pod: rig.set_ready(p, ready=not ending, phase=ending or "Running"))


async def chaos(rig: Rig, user: Any, rounds: int = 12, ending: str = "") -> None:
    client = rig.client
    assert isinstance(client, Flaky)
    client.rate = 0.3
    for _ in range(rounds):
        await user(client.random)
        await kubelet(rig, 0.6, ending)
        dice = client.random.randrange(6)
        if dice == 0:
            client.drop_watches()
        elif dice == 1:
            client.compact()
        elif dice == 2 and (pods := client.all(PODS)) and not ending:
            victim = client.random.choice(pods)["metadata"]
            await insist(rig, lambda v=victim: client.delete(PODS, v["name"], v["namespace"], grace_period_seconds=0))
        await rig.settle(client.random.choice((0, 0, 1, 5)))
    client.rate = 0.0
    assert client.failures
    for _ in range(30):
        await kubelet(rig, 1.0, ending)
        await rig.settle(20)
    await rig.settle(400)  # expectations that were lost with their events have lapsed
    for _ in range(8):
        await kubelet(rig, 1.0, ending)
        await rig.settle(20)


def active(rig: Rig) -> list[Object]:
    return [pod for pod in rig.client.all(PODS) if is_active(pod)]


def images(rig: Rig) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in active(rig)}


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


async def settled(rig: Rig) -> None:
    """Nothing is written any more."""
    before = len(rig.client.actions)
    await rig.settle(120)
    late = [(action.verb, action.resource.plural) for action in rig.client.actions[before:] if action.resource.plural != "events"]
    assert late == []


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
