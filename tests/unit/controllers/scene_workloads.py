"""Scenes of workloads, endpoints and quotas: what their users do, and where everything must end."""
from __future__ import annotations

from collections import Counter

from scene import Scene, World, names

from kubepy.api.pod import is_terminal
from kubepy.api.resource import (
    CONFIGMAPS,
    CRON_JOBS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.controllers import (
    cronjob,
    disruption,
    namespace,
    quota,
    replicaset,
    rootca,
    serviceaccount,
)
from kubepy.controllers.endpoint import legacy, mirror, slices
from kubepy.controllers.garbage import collector
from kubepy.controllers.job import reconcile as job
from kubepy.controllers.job import ttl as job_ttl
from kubepy.controllers.job.snapshot import FINALIZER
from kubepy.controllers.kit.option import Options


class Namespaces(Scene):
    builds = (namespace.controller, serviceaccount.controller, rootca.controller)
    options = Options(root_ca="a CA")
    strict = True

    async def act(self, world: World, number: int) -> None:
        await world.create(NAMESPACES, f"ns-{number}", None)
        found = world.some(NAMESPACES)
        if found is not None:
            await world.create(CONFIGMAPS, f"c-{number}", found["metadata"]["name"])
            await world.create(PODS, f"p-{number}", found["metadata"]["name"], spec={"containers": []})
        if world.dice.random() < 0.4 and (found := world.some(NAMESPACES)) is not None:
            world.seen[found["metadata"]["name"]] = "deleted"
            await world.delete(NAMESPACES, found)

    def check(self, world: World) -> None:
        alive = names(world.all(NAMESPACES))
        assert not set(alive) & world.seen.keys()
        assert [item["metadata"]["namespace"] for item in world.all(SERVICE_ACCOUNTS)] == alive
        assert sorted(item["metadata"]["namespace"] for item in world.all(CONFIGMAPS) if item["metadata"]["name"] == rootca.NAME) == alive
        assert {item["metadata"]["namespace"] for item in world.all(PODS)} <= set(alive)


class Garbage(Scene):
    builds = (collector.controller,)

    async def act(self, world: World, number: int) -> None:
        await world.create(DEPLOYMENTS, f"d-{number}", spec={})
        owner = world.some(DEPLOYMENTS)
        if owner is not None:
            await world.create(REPLICA_SETS, f"r-{number}", metadata=self.owned(owner, "Deployment"), spec={})
        owners = [item for item in (world.some(REPLICA_SETS), world.some(REPLICA_SETS)) if item is not None]
        if owners:
            references = [ref for item in owners for ref in self.owned(item, "ReplicaSet")["ownerReferences"]]
            unique = list({ref["uid"]: ref for ref in references}.values())
            await world.create(PODS, f"p-{number}", metadata={"ownerReferences": unique}, spec={"containers": []})
        for resource in (DEPLOYMENTS, REPLICA_SETS):
            if world.dice.random() < 0.35 and (found := world.some(resource)) is not None:
                await world.delete(resource, found, propagation=world.dice.choice(("Background", "Foreground", "Orphan")))

    def owned(self, owner: Object, kind: str) -> Object:
        return {"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner["metadata"]["name"],
                                     "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}]}

    def check(self, world: World) -> None:
        everything = [item for resource in (DEPLOYMENTS, REPLICA_SETS, PODS) for item in world.all(resource)]
        there = {item["metadata"]["uid"] for item in everything}
        for item in everything:
            assert not item["metadata"].get("deletionTimestamp")
            assert not item["metadata"].get("finalizers")
            assert {ref["uid"] for ref in item["metadata"].get("ownerReferences") or ()} <= there


class Endpoints(Scene):
    builds = (slices.controller, legacy.controller, mirror.controller)

    async def begin(self, world: World) -> None:
        world.rig.client.load(NODES, {"metadata": {"name": "n"}})
        ports = [{"name": "web", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
        await world.create(SERVICES, "web", spec={"selector": {"app": "web"}, "ports": ports, "ipFamilies": ["IPv4"]})
        await world.create(SERVICES, "hand", spec={"ports": ports, "ipFamilies": ["IPv4"]})

    async def act(self, world: World, number: int) -> None:
        ready = world.dice.random() < 0.7
        await world.create(PODS, f"p-{number}", metadata={"labels": {"app": "web"}}, spec={"containers": [], "nodeName": "n"},
                           status={"phase": "Running", "podIP": f"10.0.0.{number}", "podIPs": [{"ip": f"10.0.0.{number}"}],
                                   "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]})
        if world.dice.random() < 0.4 and (found := world.some(PODS)) is not None:
            await world.delete(PODS, found, grace_period_seconds=0)
        by_hand = [{"addresses": [{"ip": f"192.0.2.{number}"}], "ports": [{"name": "web", "port": 1, "protocol": "TCP"}]}]
        present = [item for item in world.all(ENDPOINTS) if item["metadata"]["name"] == "hand"]
        if present:
            await world.patch(ENDPOINTS, present[0], {"subsets": by_hand})
        else:
            await world.create(ENDPOINTS, "hand", subsets=by_hand)
        world.seen["hand"] = [f"192.0.2.{number}"]

    def check(self, world: World) -> None:
        ready = sorted(pod["status"]["podIP"] for pod in world.all(PODS) if pod["status"]["conditions"][0]["status"] == "True")
        told: dict[str, list[str]] = {"web": [], "hand": []}
        for item in world.all(ENDPOINT_SLICES):
            told[item["metadata"]["labels"]["kubernetes.io/service-name"]] += [
                endpoint["addresses"][0] for endpoint in item["endpoints"] if endpoint["conditions"]["ready"]]
        assert sorted(told["web"]) == ready
        assert told["hand"] == world.seen["hand"]
        [web] = [item for item in world.all(ENDPOINTS) if item["metadata"]["name"] == "web"]
        assert sorted(item["ip"] for subset in web.get("subsets") or () for item in subset.get("addresses") or ()) == ready


class Replication(Scene):
    builds = (replicaset.replicationcontroller,)

    async def begin(self, world: World) -> None:
        await world.create(REPLICATION_CONTROLLERS, "rc", spec={
            "replicas": 3, "selector": {"app": "rc"}, "template": {"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": []}}})
        world.seen["replicas"] = 3

    async def act(self, world: World, number: int) -> None:
        [owner] = world.all(REPLICATION_CONTROLLERS)
        if world.dice.random() < 0.4:
            world.seen["replicas"] = world.dice.randrange(6)
            await world.patch(REPLICATION_CONTROLLERS, owner, {"spec": {"replicas": world.seen["replicas"]}})
        if world.dice.random() < 0.3:
            await world.create(PODS, f"orphan-{number}", metadata={"labels": {"app": "rc"}}, spec={"containers": []})
        if world.dice.random() < 0.3 and (pod := world.some(PODS)) is not None:
            await world.patch(PODS, pod, {"metadata": {"labels": {"app": "free"}}})

    def check(self, world: World) -> None:
        [owner] = world.all(REPLICATION_CONTROLLERS)
        mine = [pod for pod in world.all(PODS) if pod["metadata"].get("ownerReferences")]
        assert len(mine) == world.seen["replicas"] == owner["status"]["replicas"]
        assert all(pod["metadata"]["labels"] == {"app": "rc"} for pod in mine)
        assert all(pod["metadata"]["labels"] == {"app": "free"} for pod in world.all(PODS) if pod not in mine)


class Budgets(Scene):
    builds = (disruption.controller,)

    async def begin(self, world: World) -> None:
        await world.create(POD_DISRUPTION_BUDGETS, "b", spec={"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 2})

    async def act(self, world: World, number: int) -> None:
        await world.create(PODS, f"p-{number}", metadata={"labels": {"app": "web"}}, spec={"containers": []}, status={
            "phase": "Running", "conditions": [{"type": "Ready", "status": world.dice.choice(("True", "False"))}]})
        if world.dice.random() < 0.4 and (pod := world.some(PODS)) is not None:
            await world.delete(PODS, pod, grace_period_seconds=0)

    def check(self, world: World) -> None:
        status = world.all(POD_DISRUPTION_BUDGETS)[0]["status"]
        healthy = sum(pod["status"]["conditions"][0]["status"] == "True" for pod in world.all(PODS))
        assert (status["currentHealthy"], status["expectedPods"]) == (healthy, len(world.all(PODS)))
        assert status["disruptionsAllowed"] == max(healthy - 2, 0)


class Quotas(Scene):
    builds = (quota.controller,)

    async def begin(self, world: World) -> None:
        await world.create(RESOURCE_QUOTAS, "q", spec={"hard": {"pods": "20", "requests.cpu": "9", "configmaps": "20"}})

    async def act(self, world: World, number: int) -> None:
        container = {"name": "c", "resources": {"requests": {"cpu": f"{number * 10}m"}}}
        await world.create(PODS, f"p-{number}", spec={"containers": [container]})
        await world.create(CONFIGMAPS, f"c-{number}")
        if world.dice.random() < 0.4 and (pod := world.some(PODS)) is not None:
            await world.patch(PODS, pod, {"status": {"phase": "Succeeded"}}, "status")
        if world.dice.random() < 0.3 and (found := world.some(CONFIGMAPS)) is not None:
            await world.delete(CONFIGMAPS, found)

    def check(self, world: World) -> None:
        used = world.all(RESOURCE_QUOTAS)[0]["status"]["used"]
        living = [pod for pod in world.all(PODS) if not is_terminal(pod)]
        cpu = sum(int(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"][:-1]) for pod in living)
        assert (used["pods"], used["configmaps"]) == (str(len(living)), str(len(world.all(CONFIGMAPS))))
        assert used["requests.cpu"] in (f"{cpu}m", str(cpu // 1000) if cpu % 1000 == 0 else "")


class Crons(Scene):
    builds = (cronjob.controller, job_ttl.controller)

    async def begin(self, world: World) -> None:
        for policy in ("Forbid", "Replace", "Allow"):
            await world.create(CRON_JOBS, policy.lower(), spec={
                "schedule": "* * * * *", "concurrencyPolicy": policy, "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1,
                "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}})

    async def act(self, world: World, number: int) -> None:
        await world.rig.settle(world.dice.choice((5, 30, 70)))
        await self.finish(world, 0.5)

    async def finish(self, world: World, chance: float) -> None:
        for run in world.all(JOBS):
            owner = run["metadata"]["ownerReferences"][0]["name"]
            key = f"{owner}/{run['metadata']['annotations'][cronjob.TIMESTAMP]}"
            assert world.seen.setdefault(key, run["metadata"]["name"]) == run["metadata"]["name"], "one Job for each time"
            if not run.get("status") and world.dice.random() < chance:
                kind, moment = world.dice.choice(("Complete", "Failed")), format_time(world.rig.clock.now())
                await world.patch(JOBS, run, {"status": {"completionTime": moment, "conditions": [
                    {"type": kind, "status": "True", "lastTransitionTime": moment}]}}, "status")

    async def late(self, world: World) -> None:
        for owner in world.all(CRON_JOBS):
            await world.patch(CRON_JOBS, owner, {"spec": {"suspend": True}})
        await world.rig.settle(5)
        await self.finish(world, 1.0)
        await world.rig.settle(60)

    def check(self, world: World) -> None:
        for owner in world.all(CRON_JOBS):
            ends = Counter(job["status"]["conditions"][0]["type"] for job in world.all(JOBS)
                           if job["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"])
            assert ends["Complete"] <= 2
            assert ends["Failed"] <= 1
            assert not (owner.get("status") or {}).get("active")


class Orphans(Scene):
    """Pods of Jobs that have gone: nobody counts them any more."""

    builds = (job.orphans,)

    async def act(self, world: World, number: int) -> None:
        await world.create(JOBS, f"j-{number % 6}", spec={})
        if (owner := world.some(JOBS)) is not None:
            reference = {"apiVersion": "batch/v1", "kind": "Job", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
                         "controller": True}
            await world.create(PODS, f"p-{number}", metadata={"finalizers": [FINALIZER], "ownerReferences": [reference]},
                               spec={"containers": [], "nodeName": "n"})
        if world.dice.random() < 0.4 and (owner := world.some(JOBS)) is not None:
            await world.delete(JOBS, owner)
        if world.dice.random() < 0.3 and (pod := world.some(PODS)) is not None:
            await world.delete(PODS, pod, grace_period_seconds=0)

    def check(self, world: World) -> None:
        jobs = {item["metadata"]["uid"] for item in world.all(JOBS)}
        for pod in world.all(PODS):
            held = FINALIZER in (pod["metadata"].get("finalizers") or ())
            assert held is (pod["metadata"]["ownerReferences"][0]["uid"] in jobs)
