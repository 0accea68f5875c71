"""Pods with claims: where their volumes let them go, and how delayed claims are bound."""
from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from kubepy.base.clock import settle
from kubepy.scheduler import config, cycle
from kubepy.scheduler.framework import Cycle


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cluster, whole = load("cluster"), load("test_scheduler")
PROFILE = config.default().profiles["default-scheduler"]
BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def affinity(*zones):
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": list(zones)}]}]}}


def volume(name, size="1Gi", zones=None, cls="local", labels=None, **spec):
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"phase": "Available"}, "spec": {
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": cls,
        **({"nodeAffinity": affinity(*zones)} if zones else {}), **spec}}


def claim(name, cls="local", size="1Gi", volume="", annotations=None, modes=("ReadWriteOnce",)):
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": {**(BOUND if volume else {}),
                                                                                                   **(annotations or {})}},
            "spec": {"storageClassName": cls, "accessModes": list(modes), "resources": {"requests": {"storage": size}},
                     **({"volumeName": volume} if volume else {})}, "status": {"phase": "Bound" if volume else "Pending"}}


def storage_class(name, provisioner="kubernetes.io/no-provisioner", delayed=True, zones=()):
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer" if delayed else "Immediate",
            **({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": list(zones)}]}]} if zones else {})}


CLASSES = [storage_class("local"), storage_class("fast", "x"), storage_class("zoned", "x", zones=["b"]),
           storage_class("now", "x", delayed=False)]
NODES = [cluster.node("n1", labels={"zone": "a"}), cluster.node("n2", labels={"zone": "b"})]


def uses(*names):
    return [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]


def decide(claims, volumes=(), pods=(), use=None, limits=None):
    snapshot = cluster.snapshot(NODES, pods)
    for one in claims:
        snapshot.volumes.claims[f"default/{one['metadata']['name']}"] = one
    for one in volumes:
        snapshot.volumes.volumes[one["metadata"]["name"]] = one
    for one in CLASSES:
        snapshot.volumes.classes[one["metadata"]["name"]] = one
    for name, counts in (limits or {}).items():
        snapshot.volumes.set_csi_node({"metadata": {"name": name}, "spec": {"drivers": [
            {"name": driver, "allocatable": {"count": count}} for driver, count in counts.items()]}})
    pod = cluster.parsed("new", volumes=uses(*(use or [one["metadata"]["name"] for one in claims])))
    attempt = Cycle(pod, snapshot)
    feasible, unfit = cycle.fit(attempt, PROFILE)
    names = sorted(node.name for node in snapshot.nodes.values() if feasible[node.slot])
    plain = sorted(node.name for node in snapshot.nodes.values() if cycle.fits_node(Cycle(pod, snapshot), PROFILE, node) == ("", ()))
    assert names == plain
    return names or unfit.message().removeprefix("0/2 nodes are available: ")


@pytest.mark.parametrize(("claims", "volumes", "expected"), [
    pytest.param([claim("c", volume="v")], [volume("v", zones=["b"])], ["n2"], id="where its volume is"),
    pytest.param([claim("c", volume="v")], [volume("v")], ["n1", "n2"], id="a volume that is everywhere"),
    pytest.param([claim("c", volume="v")], [volume("v", zones=["x"])], "2 node(s) didn't match PersistentVolume's node affinity.",
                 id="a volume that is nowhere"),
    pytest.param([claim("c", volume="v")], [], "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).",
                 id="a volume that is gone"),
    pytest.param([claim("c", volume="v")], [volume("v", labels={"topology.kubernetes.io/zone": "z"})], ["n1", "n2"],
                 id="a zone label does not matter where nodes have none"),
    pytest.param([claim("c")], [volume("v", zones=["b"])], ["n2"], id="where a volume is free"),
    pytest.param([claim("c", size="2Gi")], [volume("v")], "2 node(s) didn't find available persistent volumes to bind.", id="too small"),
    pytest.param([claim("c"), claim("d")], [volume("v", zones=["b"]), volume("w", zones=["a", "b"])], ["n2"], id="one volume each"),
    pytest.param([claim("c", "fast")], [], ["n1", "n2"], id="provisioned anywhere"),
    pytest.param([claim("c", "zoned")], [], ["n2"], id="provisioned where the class allows"),
    pytest.param([claim("c", "now")], [], "pod has unbound immediate PersistentVolumeClaims.", id="an immediate claim must be bound"),
    pytest.param([claim("c", "fast", annotations={"volume.kubernetes.io/selected-node": "n1"})], [], ["n1"],
                 id="being provisioned already"),
])
def test_where(claims, volumes, expected):
    assert decide(claims, volumes) == expected


def test_a_claim_that_is_not_there():
    assert decide([], use=["c"]) == 'persistentvolumeclaim "c" not found.'


def test_one_pod_at_a_time():
    other = cluster.pod("other", node="n1", volumes=uses("c"))
    one = claim("c", volume="v", modes=["ReadWriteOncePod"])
    assert decide([one], [volume("v")]) == ["n1", "n2"]
    assert decide([one], [volume("v")], [other]) == ("2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
                                                     "access mode.")


@pytest.mark.parametrize(("use", "expected"), [
    pytest.param(["c"], ["n1", "n2"], id="a volume the node has already"),
    pytest.param(["d"], ["n2"], id="one more than the node can take"),
])
def test_volume_limits(use, expected):
    volumes = [volume(name, csi={"driver": "x", "volumeHandle": name}) for name in ("v", "w")]
    claims = [claim("c", volume="v"), claim("d", volume="w")]
    other = cluster.pod("other", node="n1", volumes=uses("c"))
    assert decide(claims, volumes, [other], use, limits={"n1": {"x": 1}, "n2": {"x": 1}}) == expected


async def made(world, resource, obj):
    await world.client.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **obj})


async def test_a_claim_is_provisioned_for_the_chosen_node_before_the_pod_is_bound():
    async with whole.World() as world:
        await world.node("n1")
        await made(world, STORAGE_CLASSES, storage_class("fast", "x"))
        await made(world, PERSISTENT_VOLUME_CLAIMS, claim("c", "fast"))
        await settle(50)
        await world.pod("a", volumes=uses("c"))
        asked = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "c", "default")
        assert asked["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n1"
        assert await world.where("a") is None
        await world.pod("b")
        assert await world.where("b") == "n1"  # others do not wait
        done = {"metadata": {"annotations": BOUND}, "spec": {"volumeName": "v"}}
        await world.client.patch(PERSISTENT_VOLUME_CLAIMS, "c", done, "default")
        await world.clock.advance(1)
        assert await world.where("a") == "n1"


async def test_a_free_volume_is_claimed_once():
    async with whole.World() as world:
        world.scheduler._rng = random.Random(3)
        await world.node("n1")
        await made(world, STORAGE_CLASSES, storage_class("local"))
        await made(world, PERSISTENT_VOLUMES, volume("v"))
        for name in ("c", "d"):
            await made(world, PERSISTENT_VOLUME_CLAIMS, claim(name))
        await settle(50)
        await world.pod("a", volumes=uses("c"))
        await world.pod("b", volumes=uses("d"))
        found = await world.client.get(PERSISTENT_VOLUMES, "v")
        assert found["spec"]["claimRef"]["name"] == "c"
        waiting = await world.client.get(PODS, "b", "default")
        assert "node(s) didn't find available persistent volumes to bind" in waiting["status"]["conditions"][0]["message"]


def capacity(size, topology, cls="fast", most=None):
    return {"storageClassName": cls, "capacity": size, **({"maximumVolumeSize": most} if most else {}),
            **({"nodeTopology": topology} if topology is not None else {})}


ZONE_A = {"matchLabels": {"zone": "a"}}
FULL = "2 node(s) did not have enough free storage."


@pytest.mark.parametrize(("capacities", "counts", "expected"), [
    pytest.param([], True, FULL, id="a driver that counts and has told nothing"),
    pytest.param([], False, ["n1", "n2"], id="a driver that does not count"),
    pytest.param([], None, ["n1", "n2"], id="no driver object"),
    pytest.param([capacity("10Gi", ZONE_A)], True, ["n1"], id="room in one zone"),
    pytest.param([capacity("10Gi", {})], True, ["n1", "n2"], id="room everywhere"),
    pytest.param([capacity("10Gi", None)], True, FULL, id="room that no node reaches"),
    pytest.param([capacity("4Gi", ZONE_A)], True, FULL, id="too little room"),
    pytest.param([capacity("100Gi", ZONE_A, most="4Gi")], True, FULL, id="room, but not for one volume of that size"),
    pytest.param([capacity("10Gi", ZONE_A, cls="zoned")], True, FULL, id="room for another class"),
    pytest.param([capacity("10Gi", {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]})], True, ["n2"],
                 id="room by an expression"),
])
def test_claims_go_where_the_driver_has_room(capacities, counts, expected):
    snapshot = cluster.snapshot(NODES)
    for one in CLASSES:
        snapshot.volumes.classes[one["metadata"]["name"]] = one
    snapshot.volumes.claims["default/c"] = claim("c", "fast", "5Gi")
    snapshot.volumes.capacities = {str(index): one for index, one in enumerate(capacities)}
    if counts is not None:
        snapshot.volumes.drivers["x"] = {"metadata": {"name": "x"}, "spec": {"storageCapacity": counts}}
    pod = cluster.parsed("new", volumes=uses("c"))
    feasible, unfit = cycle.fit(Cycle(pod, snapshot), PROFILE)
    names = sorted(node.name for node in snapshot.nodes.values() if feasible[node.slot])
    assert (names or unfit.message().removeprefix("0/2 nodes are available: ")) == expected
    assert names == sorted(n.name for n in snapshot.nodes.values() if cycle.fits_node(Cycle(pod, snapshot), PROFILE, n) == ("", ()))
