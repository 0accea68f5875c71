"""Scenes of nodes, volumes and what a provider does: what their users do, and where everything must end."""
from __future__ import annotations

from collections import Counter

from scene import Scene, World, names

from kubepy.api.pod import is_terminal
from kubepy.api.resource import (
    CLUSTER_ROLES,
    CSI_DRIVERS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    SERVICES,
    VOLUME_ATTACHMENTS,
)
from kubepy.base.clock import format_time
from kubepy.controllers import (
    clusterrole,
    devicetaint,
    podgc,
    policystatus,
    protection,
    resourceclaim,
    selinux,
    servicecidr,
)
from kubepy.controllers.cloud import service as cloud_service
from kubepy.controllers.kit.option import Options
from kubepy.controllers.node import eviction, ipam, lifecycle, zone
from kubepy.controllers.node import ttl as node_ttl
from kubepy.controllers.volume import attach, binder, ephemeral


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


class DeviceTaints(Scene):
    builds = (devicetaint.controller,)

    async def act(self, world: World, number: int) -> None:
        """Each pod has a device of its own; a device's taint comes and goes."""
        devices = world.seen.setdefault("devices", {})
        devices[f"d{number}"] = False
        result = {"driver": "x", "pool": "p", "device": f"d{number}"}
        if number % 4 == 0:
            result["tolerations"] = [{"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]
        await world.create(PODS, f"p-{number}", spec={"containers": [], "nodeName": "n", "resourceClaims": [
            {"name": "d", "resourceClaimName": f"c-{number}"}]}, status={"phase": "Running"})
        pod = await world.rig.client.get(PODS, f"p-{number}", "default")
        await world.create(RESOURCE_CLAIMS, f"c-{number}", spec={}, status={
            "allocation": {"devices": {"results": [result]}},
            "reservedFor": [{"resource": "pods", "name": f"p-{number}", "uid": pod["metadata"]["uid"]}]})
        for name in devices:
            devices[name] = world.dice.random() < 0.15
        world.seen.setdefault("ever", set()).update(name for name, broken in devices.items() if broken)
        taint = {"key": "broken", "effect": "NoExecute", "timeAdded": format_time(world.rig.clock.now())}
        body = {"driver": "x", "pool": {"name": "p", "generation": number}, "devices": [
            {"name": name, **({"taints": [taint]} if broken else {})} for name, broken in devices.items()]}
        if world.all(RESOURCE_SLICES):
            await world.patch(RESOURCE_SLICES, world.all(RESOURCE_SLICES)[0], {"spec": body})
        else:
            await world.create(RESOURCE_SLICES, "s", None, spec=body)

    def check(self, world: World) -> None:
        going = {pod["metadata"]["name"][2:] for pod in world.all(PODS) if pod["metadata"].get("deletionTimestamp")}
        gone = {name[1:] for name in world.seen["devices"]} - {pod["metadata"]["name"][2:] for pod in world.all(PODS)}
        assert {name[1:] for name, broken in world.seen["devices"].items() if broken} <= going | gone <= {
            name[1:] for name in world.seen["ever"]}


class Labels(Scene):
    """Nothing is written but events: what is known of conflicts is what there is."""

    builds = (selinux.controller,)

    async def begin(self, world: World) -> None:
        await world.create(CSI_DRIVERS, "d", None, spec={"seLinuxMount": True})

    async def act(self, world: World, number: int) -> None:
        volume = number % 3
        await world.create(PERSISTENT_VOLUMES, f"v{volume}", None, spec={
            "csi": {"driver": "d"}, "claimRef": {"namespace": "default", "name": f"c{volume}"}})
        await world.create(PERSISTENT_VOLUME_CLAIMS, f"c{volume}", spec={"volumeName": f"v{volume}"})
        level = world.dice.choice(("s0:c1", "s0:c2"))
        await world.create(PODS, f"p-{number}", status={"phase": "Running"}, spec={
            "nodeName": "n", "securityContext": {"seLinuxOptions": {"level": level}},
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": f"c{world.dice.randrange(3)}"}}]})
        if world.dice.random() < 0.4 and (pod := world.some(PODS)) is not None:
            await world.delete(PODS, pod, grace_period_seconds=0)

    def check(self, world: World) -> None:
        uses = [(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], pod["spec"]["securityContext"]["seLinuxOptions"]["level"],
                 f"default/{pod['metadata']['name']}") for pod in world.all(PODS)]
        assert selinux.SHOWN.source is not None
        assert sorted((item.pod, item.other) for item in selinux.SHOWN.source.present()) == sorted(
            (one, two) for claim, level, one in uses for other_claim, other_level, two in uses
            if claim == other_claim and level != other_level)
