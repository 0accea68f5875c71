"""The leader dies after each of its writes in turn; whoever takes over makes nothing twice and ends at the same."""
from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from metric_client import MetricsClient
from mortal import Mortal
from rig import Rig, workload
from scene import Build

from kubepy.api.pod import is_active
from kubepy.api.resource import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
)
from kubepy.api.types import Object
from kubepy.base.clock import settle
from kubepy.client.memory import MemoryClient
from kubepy.controllers import cronjob
from kubepy.controllers.autoscale import reconcile as autoscaler
from kubepy.controllers.daemonset import reconcile as daemonset
from kubepy.controllers.daemonset.eligible import node_of
from kubepy.controllers.deployment import reconcile as deployment
from kubepy.controllers.endpoint import slices
from kubepy.controllers.job import reconcile as job
from kubepy.controllers.replicaset import replicaset
from kubepy.controllers.statefulset import reconcile as statefulset

IMAGE: Object = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}}
CLAIM: Object = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


class User:
    """Users and kubelets, who go on whatever becomes of the leader; after a death another leader starts."""

    def __init__(self, rig: Rig, client: Mortal, ending: str = "Running") -> None:
        self.rig, self.client, self.ending = rig, client, ending

    async def patch(self, resource: Any, name: str, body: Object, subresource: str | None = None) -> None:
        await MemoryClient.patch(self.client, resource, name, body, "default", subresource=subresource)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(4):
            await settle(30)
            await self.rig.clock.advance(seconds / 4)

    async def settle(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            await self.pass_time(2)
            if self.client.dead:
                await self.rig.tasks.stop()
                self.client.revive()
                await self.rig.restart()
                await self.pass_time(10)
            for pod in self.client.all(PODS):
                await self.live(pod)

    async def live(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            await MemoryClient.delete(self.client, PODS, metadata["name"], "default", grace_period_seconds=0)
        elif not pod["spec"].get("nodeName"):
            await MemoryClient.create(self.client, PODS, {"target": {"name": node_of(pod) or "n"}}, "default", name=metadata["name"],
                                      subresource="binding")
        elif pod["status"].get("phase") == "Pending":
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": self.rig.now()}
            await self.patch(PODS, metadata["name"], {"status": {
                "phase": self.ending, "startTime": self.rig.now(),
                "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [ready]}}, "status")


class MortalMetrics(MetricsClient, Mortal):
    def __init__(self, last: int = 0) -> None:
        Mortal.__init__(self, last)
        self.values = {}
        self.cpu = 90

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        await self._alive()
        return await super().raw(method, path, body, headers=headers)


class Case(NamedTuple):
    builds: tuple[Build, ...]
    play: Callable[[User], Awaitable[None]]
    made: dict[str, int]
    ending: str = "Running"
    client: Callable[[int], Mortal] = Mortal


async def roll_out(user: User) -> None:
    await MemoryClient.create(user.client, DEPLOYMENTS, workload("Deployment", replicas=2))
    await user.settle()
    await user.patch(DEPLOYMENTS, "web", IMAGE)
    await user.settle(7)


async def adopt(user: User) -> None:
    for name in ("one", "two"):
        await MemoryClient.create(user.client, PODS, {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
                                                      "spec": {"containers": []}})
    await MemoryClient.create(user.client, REPLICA_SETS, workload("ReplicaSet", replicas=3))
    await user.settle()
    await user.patch(PODS, "one", {"metadata": {"labels": {"app": "free"}}})
    await user.settle()


async def stateful(user: User) -> None:
    body = workload("StatefulSet", replicas=2, serviceName="web", volumeClaimTemplates=[CLAIM])
    await MemoryClient.create(user.client, STATEFUL_SETS, body)
    await user.settle(6)
    await user.patch(STATEFUL_SETS, "web", IMAGE)
    await user.settle(8)


async def daemons(user: User) -> None:
    user.client.load(NODES, *({"metadata": {"name": name}, "spec": {}} for name in "ab"))
    await MemoryClient.create(user.client, DAEMON_SETS, workload("DaemonSet"))
    await user.settle()
    await user.patch(DAEMON_SETS, "web", IMAGE)
    await user.settle(7)


async def work(user: User) -> None:
    body = workload("Job", "sum", api="batch/v1", parallelism=2, completions=4)
    body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    await MemoryClient.create(user.client, JOBS, body)
    await user.settle(10)


async def indexed(user: User) -> None:
    body = workload("Job", "sum", api="batch/v1", parallelism=2, completions=3, completionMode="Indexed")
    body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    await MemoryClient.create(user.client, JOBS, body)
    await user.settle(10)


async def minutes(user: User) -> None:
    await MemoryClient.create(user.client, CRON_JOBS, {"metadata": {"name": "tick", "namespace": "default"}, "spec": {
        "schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}})
    end = user.rig.clock.now() + 130
    while user.rig.clock.now() < end:
        await user.settle(1)


async def serve(user: User) -> None:
    user.client.load(NODES, {"metadata": {"name": "n"}})
    await MemoryClient.create(user.client, SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"app": "web"}, "ipFamilies": ["IPv4"], "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]}})
    await MemoryClient.create(user.client, REPLICA_SETS, workload("ReplicaSet", replicas=2))
    await user.settle(6)


async def autoscale(user: User) -> None:
    body = workload("ReplicaSet", replicas=1)
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    await MemoryClient.create(user.client, REPLICA_SETS, body)
    await MemoryClient.create(user.client, HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "h", "namespace": "default"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"}, "maxReplicas": 3, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}})
    await user.settle(40)


CASES = {
    "a rollout": Case((deployment.controller, replicaset), roll_out, {"replicasets": 2, "pods": 4}),
    "adoption and release": Case((replicaset,), adopt, {"pods": 2}),
    "a stateful set and its claims": Case((statefulset.controller,), stateful, {
        "pods": 4, "persistentvolumeclaims": 2, "controllerrevisions": 2}),
    "daemons": Case((daemonset.controller,), daemons, {"pods": 4, "controllerrevisions": 2}),
    "a Job": Case((job.controller, job.orphans), work, {"pods": 4}, "Succeeded"),
    "an indexed Job": Case((job.controller, job.orphans), indexed, {"pods": 3}, "Succeeded"),
    "a cron job": Case((cronjob.controller,), minutes, {"jobs": 2}),
    "autoscaling": Case((autoscaler.controller, replicaset), autoscale, {"pods": 3}, client=MortalMetrics),
    "a service's slices": Case((slices.controller, replicaset), serve, {"pods": 2, "endpointslices": 2}),
}
SHOWN = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, ENDPOINT_SLICES, PERSISTENT_VOLUME_CLAIMS)


def outcome(client: Mortal) -> dict[str, Any]:
    """What is there in the end, but for names, times and versions."""
    found: dict[str, Any] = {resource.plural: len(client.all(resource)) for resource in SHOWN}
    pods = [pod for pod in client.all(PODS) if is_active(pod) or pod["status"]["phase"] == "Succeeded"]
    found["pods"] = Counter((pod["status"]["phase"], len(pod["metadata"].get("ownerReferences") or ()),
                             pod["spec"]["containers"][0]["image"] if pod["spec"]["containers"] else "") for pod in pods)
    found["replicas"] = [(item["spec"]["replicas"], item["status"].get("replicas", 0), item["status"].get("availableReplicas", 0))
                         for resource in (DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS) for item in client.all(resource)]
    found["succeeded"] = [(item.get("status") or {}).get("succeeded") for item in client.all(JOBS)]
    return found


async def run(case: Case, last: int) -> Mortal:
    client = case.client(last)
    async with Rig(*case.builds, client=client) as rig:
        await case.play(User(rig, client, case.ending))
    assert not client.dead
    return client


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_nothing_is_made_twice_whenever_the_leader_dies_in(case: Case) -> None:
    whole = await run(case, 0)
    assert whole.made == case.made
    for last in range(1, whole.writes + 1):
        client = await run(case, last)
        assert client.made == whole.made, f"the leader died after write {last} of {whole.writes}"
        assert outcome(client) == outcome(whole), f"the leader died after write {last} of {whole.writes}"
