"""Every other controller ends where it should too, whatever goes wrong on the way (see `chaos`): one scene for each group of them."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from chaos import Flaky, chaos, insist, settled
from rig import Rig

from kubepy.api.pod import is_terminal
from kubepy.api.resource import (
    CLUSTER_ROLES,
    CONFIGMAPS,
    CRON_JOBS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    VOLUME_ATTACHMENTS,
    Resource,
)
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller
from kubepy.controllers import (
    clusterrole,
    cronjob,
    disruption,
    namespace,
    podgc,
    policystatus,
    protection,
    quota,
    replicaset,
    resourceclaim,
    rootca,
    serviceaccount,
    servicecidr,
)
from kubepy.controllers.cloud import service as cloud_service
from kubepy.controllers.endpoint import legacy, mirror, slices
from kubepy.controllers.garbage import collector
from kubepy.controllers.job import ttl as job_ttl
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.option import Options
from kubepy.controllers.node import eviction, ipam, lifecycle, zone
from kubepy.controllers.node import ttl as node_ttl
from kubepy.controllers.volume import attach, binder, ephemeral

SEEDS = range(3)
Build = Callable[[Environment], Controller | None]


@dataclass
class World:
    """What a scene's user and its check have at hand."""

    rig: Rig
    dice: random.Random
    seen: dict[str, Any]

    async def create(self, resource: Resource, name: str, namespace: str | None = "default", status: Object | None = None,
                     metadata: Object | None = None, **body: Any) -> None:
        client = self.rig.client
        obj = {"metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **(metadata or {})}, **body}

        async def make() -> None:
            if not any(item["metadata"]["name"] == name for item in client.all(resource, namespace)):
                await client.create(resource, obj)

        await insist(self.rig, make)
        if status is not None:
            await insist(self.rig, lambda: client.patch(resource, name, {"status": status}, namespace, subresource="status"))

    async def patch(self, resource: Resource, obj: Object, body: Object, subresource: str | None = None) -> None:
        metadata = obj["metadata"]
        await insist(self.rig, lambda: self.rig.client.patch(resource, metadata["name"], body, metadata.get("namespace"),
                                                             subresource=subresource))

    async def delete(self, resource: Resource, obj: Object, **options: Any) -> None:
        metadata = obj["metadata"]

        async def remove() -> None:
            live = [item for item in self.rig.client.all(resource) if item["metadata"]["uid"] == metadata["uid"]]
            if live and not live[0]["metadata"].get("deletionTimestamp"):
                await self.rig.client.delete(resource, metadata["name"], metadata.get("namespace"), **options)

        await insist(self.rig, remove)

    def some(self, resource: Resource) -> Object | None:
        found = [item for item in self.rig.client.all(resource) if not item["metadata"].get("deletionTimestamp")]
        return self.dice.choice(found) if found else None

    def all(self, resource: Resource) -> list[Object]:
        return self.rig.client.all(resource)


def names(items: list[Object]) -> list[str]:
    return sorted(item["metadata"]["name"] for item in items)


class Scene:
    builds: tuple[Build, ...] = ()
    options = Options()
    strict = False
    after = 20

    async def begin(self, world: World) -> None: ...

    async def act(self, world: World, number: int) -> None: ...

    async def late(self, world: World) -> None:
        """After the chaos, once."""

    def check(self, world: World) -> None: ...


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
        for job in world.all(JOBS):
            owner = job["metadata"]["ownerReferences"][0]["name"]
            key = f"{owner}/{job['metadata']['annotations'][cronjob.TIMESTAMP]}"
            assert world.seen.setdefault(key, job["metadata"]["name"]) == job["metadata"]["name"], "one Job for each time"
            if not job.get("status") and world.dice.random() < chance:
                kind, moment = world.dice.choice(("Complete", "Failed")), format_time(world.rig.clock.now())
                await world.patch(JOBS, job, {"status": {"completionTime": moment, "conditions": [
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


class Nodes(Scene):
    builds = (ipam.controller, lifecycle.controller, eviction.controller, node_ttl.controller, podgc.controller)
    options = Options(allocate_node_cidrs=True, cluster_cidr=("10.0.0.0/20",), node_eviction_rate=10.0)

    async def act(self, world: World, number: int) -> None:
        moment = format_time(world.rig.clock.now())
        await world.create(NODES, f"n-{number}", None, spec={}, status={"conditions": [
            {"type": "Ready", "status": world.dice.choice(("True", "True", "False")), "lastHeartbeatTime": moment}]})
        if (node := world.some(NODES)) is not None:
            await world.create(PODS, f"p-{number}", spec={"containers": [], "nodeName": node["metadata"]["name"]},
                               status={"phase": "Running", "startTime": moment})
        if world.dice.random() < 0.3 and (node := world.some(NODES)) is not None:
            await world.delete(NODES, node)
        await self.beat(world)

    async def beat(self, world: World) -> None:
        """Every node says something: none is silent."""
        for node in world.all(NODES):
            conditions = [{**item, "lastHeartbeatTime": format_time(world.rig.clock.now())} for item in node["status"]["conditions"]]
            await world.patch(NODES, node, {"status": {"conditions": conditions}}, "status")

    async def late(self, world: World) -> None:
        await self.beat(world)
        await world.rig.settle(30)
        for _ in range(4):
            await self.beat(world)
            await world.rig.settle(20)

    def check(self, world: World) -> None:
        ranges = [node["spec"]["podCIDR"] for node in world.all(NODES)]
        assert len(set(ranges)) == len(ranges)
        unready = {node["metadata"]["name"] for node in world.all(NODES) if node["status"]["conditions"][0]["status"] != "True"}
        if zone.state(world.all(NODES), 0.55) != zone.NORMAL:
            return  # too many are not ready: nobody is evicted
        for node in world.all(NODES):
            effects = sorted(item["effect"] for item in node["spec"].get("taints") or ())
            assert effects == (["NoExecute", "NoSchedule"] if node["metadata"]["name"] in unready else [])
        alive = set(names(world.all(NODES))) - unready
        stays = [pod for pod in world.all(PODS) if not pod["metadata"].get("deletionTimestamp")]
        assert {pod["spec"]["nodeName"] for pod in stays} <= alive


class Volumes(Scene):
    builds = (binder.controller, protection.claims, protection.volumes, protection.classes, ephemeral.controller)

    async def act(self, world: World, number: int) -> None:
        await world.create(PERSISTENT_VOLUMES, f"v-{number}", None, spec={
            "capacity": {"storage": f"{1 + number % 3}Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain"})
        await world.create(PERSISTENT_VOLUME_CLAIMS, f"c-{number}", spec={
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{1 + number % 2}Gi"}}})
        await world.create(PODS, f"p-{number}", spec={"containers": [], "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}}}}]})
        claim = world.some(PERSISTENT_VOLUME_CLAIMS)
        if world.dice.random() < 0.3 and claim is not None and claim["metadata"]["name"][0] == "c":
            await world.delete(PERSISTENT_VOLUME_CLAIMS, claim)
        await world.create(protection.ATTRIBUTES_CLASSES, f"a-{number % 4}", None, driverName="d")

    async def late(self, world: World) -> None:
        for found in world.all(protection.ATTRIBUTES_CLASSES):
            await world.delete(protection.ATTRIBUTES_CLASSES, found)
        await world.rig.settle(30)

    def check(self, world: World) -> None:
        claims = {item["metadata"]["uid"]: item for item in world.all(PERSISTENT_VOLUME_CLAIMS)}
        by_name = {item["metadata"]["name"]: item for item in world.all(PERSISTENT_VOLUMES)}
        for claim in claims.values():
            assert not claim["metadata"].get("deletionTimestamp")
            assert protection.CLAIM_FINALIZER in claim["metadata"]["finalizers"]
            bound = claim["spec"].get("volumeName")
            assert claim["status"]["phase"] == ("Bound" if bound else "Pending")
            if bound:
                assert by_name[bound]["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
        for volume in by_name.values():
            owner = (volume["spec"].get("claimRef") or {}).get("uid")
            assert volume["status"]["phase"] == ("Bound" if owner in claims else "Released" if owner else "Available")
        free = [item for item in by_name.values() if item["status"]["phase"] == "Available"]
        waiting = [item for item in claims.values() if item["status"]["phase"] == "Pending" and item["metadata"]["name"][0] == "c"]
        assert not [item for item in waiting if any(
            int(volume["spec"]["capacity"]["storage"][0]) >= int(item["spec"]["resources"]["requests"]["storage"][0]) for volume in free)]
        assert sorted(item["metadata"]["name"] for item in claims.values() if item["metadata"]["name"][0] == "p") == [
            f"{name}-v" for name in names(world.all(PODS))]
        assert not world.all(protection.ATTRIBUTES_CLASSES)


class Attachments(Scene):
    builds = (attach.controller,)

    async def begin(self, world: World) -> None:
        for number in range(3):
            world.rig.client.load(NODES, {"metadata": {"name": f"n{number}"}, "spec": {}, "status": {}})
            world.rig.client.load(PERSISTENT_VOLUMES, {"metadata": {"name": f"v{number}"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": f"h{number}"}}})
            world.rig.client.load(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": f"c{number}", "namespace": "default"}, "spec": {
                "volumeName": f"v{number}"}, "status": {"phase": "Bound"}})
        world.seen["where"] = [None, None, None]

    async def act(self, world: World, number: int) -> None:
        """Each volume is used by at most one pod, which moves about."""
        for volume in range(3):
            if world.dice.random() < 0.5:
                for pod in world.all(PODS):
                    if pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == f"c{volume}":
                        await world.delete(PODS, pod, grace_period_seconds=0)
                node = world.dice.choice((None, "n0", "n1", "n2"))
                world.seen["where"][volume] = node
                if node:
                    await world.create(PODS, f"p-{volume}-{number}", spec={"containers": [], "nodeName": node, "volumes": [
                        {"name": "v", "persistentVolumeClaim": {"claimName": f"c{volume}"}}]}, status={"phase": "Running"})

    def check(self, world: World) -> None:
        found = sorted((item["spec"]["source"]["persistentVolumeName"], item["spec"]["nodeName"]) for item in world.all(VOLUME_ATTACHMENTS))
        assert found == sorted((f"v{number}", node) for number, node in enumerate(world.seen["where"]) if node)


class Claims(Scene):
    builds = (resourceclaim.controller,)

    async def begin(self, world: World) -> None:
        await world.create(resourceclaim.TEMPLATES, "t", spec={"spec": {"devices": {}}})

    async def act(self, world: World, number: int) -> None:
        await world.create(PODS, f"p-{number}", spec={"containers": [], "nodeName": "n", "resourceClaims": [
            {"name": "a", "resourceClaimTemplateName": "t"}, {"name": "b", "resourceClaimTemplateName": "t"}]})
        if (claim := world.some(resourceclaim.CLAIMS)) is not None:
            await world.patch(resourceclaim.CLAIMS, claim, {"status": {"allocation": {"devices": {}}}}, "status")
        if world.dice.random() < 0.4 and (pod := world.some(PODS)) is not None:
            await world.patch(PODS, pod, {"status": {"phase": "Succeeded"}}, "status")

    def check(self, world: World) -> None:
        living = {pod["metadata"]["uid"]: pod for pod in world.all(PODS) if not is_terminal(pod)}
        owners = Counter(claim["metadata"]["ownerReferences"][0]["uid"] for claim in world.all(resourceclaim.CLAIMS))
        assert owners == dict.fromkeys(living, 2)
        for claim in world.all(resourceclaim.CLAIMS):
            status, owner = claim.get("status") or {}, claim["metadata"]["ownerReferences"][0]["uid"]
            assert [item["uid"] for item in status.get("reservedFor") or ()] == ([owner] if status.get("allocation") else [])
        for pod in living.values():
            assert len(pod["status"]["resourceClaimStatuses"]) == 2


class Balancers(Scene):
    builds = (cloud_service.controller, servicecidr.controller, clusterrole.controller, policystatus.controller)
    options = Options(load_balancer_pool=("192.0.2.0/28",))

    async def begin(self, world: World) -> None:
        await world.create(CLUSTER_ROLES, "sum", None, aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]})

    async def act(self, world: World, number: int) -> None:
        await world.create(SERVICES, f"s-{number}", spec={"type": "LoadBalancer", "ipFamilies": ["IPv4"]})
        await world.create(CLUSTER_ROLES, f"part-{number}", None, metadata={"labels": {"part": "yes"}},
                           rules=[{"apiGroups": [""], "resources": [f"r{number}"], "verbs": ["get"]}])
        await world.create(policystatus.POLICIES, f"policy-{number}", None, spec={"failurePolicy": "Fail"})
        await world.create(servicecidr.SERVICE_CIDRS, f"cidr-{number}", None, spec={"cidrs": [f"10.{number}.0.0/24"]})
        if world.dice.random() < 0.4 and (found := world.some(SERVICES)) is not None:
            await world.patch(SERVICES, found, {"spec": {"type": "ClusterIP"}})
        if world.dice.random() < 0.3 and (found := world.some(servicecidr.SERVICE_CIDRS)) is not None:
            await world.delete(servicecidr.SERVICE_CIDRS, found)
        if world.dice.random() < 0.3 and (found := world.some(SERVICES)) is not None:
            await world.delete(SERVICES, found)
        parts = [item for item in world.all(CLUSTER_ROLES) if item["metadata"]["name"] != "sum"]
        if world.dice.random() < 0.3 and parts:
            await world.delete(CLUSTER_ROLES, world.dice.choice(parts))

    def check(self, world: World) -> None:
        given = []
        for item in world.all(SERVICES):
            assert not item["metadata"].get("deletionTimestamp")
            ingress = cloud_service.ingress_of(item)
            assert bool(ingress) is (item["spec"]["type"] == "LoadBalancer")
            assert (cloud_service.FINALIZER in (item["metadata"].get("finalizers") or ())) is bool(ingress)
            given += [entry["ip"] for entry in ingress]
        assert len(set(given)) == len(given)
        [whole] = [item for item in world.all(CLUSTER_ROLES) if item["metadata"]["name"] == "sum"]
        parts = [item["rules"][0]["resources"][0] for item in world.all(CLUSTER_ROLES) if item["metadata"]["name"] != "sum"]
        assert sorted(rule["resources"][0] for rule in whole.get("rules") or ()) == sorted(parts)
        assert all(item["status"]["observedGeneration"] == 1 for item in world.all(policystatus.POLICIES))
        assert not [item for item in world.all(servicecidr.SERVICE_CIDRS) if item["metadata"].get("deletionTimestamp")]


SCENES = (Namespaces, Garbage, Endpoints, Replication, Budgets, Quotas, Crons, Nodes, Volumes, Attachments, Claims, Balancers)
QUIET = {Nodes}
"""Scenes whose nodes fall silent when nobody plays them: what is written then is right."""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__.lower())
async def test_converges(kind: type[Scene], seed: int) -> None:
    scene = kind()
    client = Flaky(seed)
    client.strict = scene.strict
    async with Rig(*scene.builds, options=scene.options, client=client) as rig:
        world = World(rig, client.random, {})
        await scene.begin(world)
        number = 0

        async def user(dice: random.Random) -> None:
            nonlocal number
            number += 1
            await scene.act(world, number)

        lapse = 0.0 if kind in QUIET else 400.0
        await chaos(rig, user, after=0 if kind in QUIET else scene.after, lapse=lapse, pods=False)
        await scene.late(world)
        scene.check(world)
        if kind not in QUIET and kind is not Crons:
            await settled(rig)
        scene.check(world)
