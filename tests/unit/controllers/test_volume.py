"""Volumes and claims: matching, binding, waiting, release; protection of what is in use."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from kubepy.api.types import Object
from kubepy.controllers import protection
from kubepy.controllers.volume import binder
from kubepy.controllers.volume.match import find


def volume(name: str, size: str = "1Gi", *, modes: tuple[str, ...] = ("ReadWriteOnce",), labels: dict[str, str] | None = None,
           **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {
        "capacity": {"storage": size}, "accessModes": list(modes), "persistentVolumeReclaimPolicy": "Retain", **spec}}


def claim(size: str = "1Gi", **spec: Any) -> Object:
    return {"metadata": {"name": "c", "namespace": "default", "uid": "u"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}}


@pytest.mark.parametrize(("the_claim", "volumes", "expected"), [
    pytest.param(claim("2Gi"), [volume("a", "1Gi"), volume("b", "8Gi"), volume("c", "3Gi")], "c", id="the smallest that is large enough"),
    pytest.param(claim(), [volume("a", modes=("ReadOnlyMany",))], None, id="access modes"),
    pytest.param(claim(), [volume("a", storageClassName="fast")], None, id="another class"),
    pytest.param(claim(volumeMode="Block"), [volume("a")], None, id="volume mode"),
    pytest.param(claim(selector={"matchLabels": {"x": "1"}}), [volume("a"), volume("b", labels={"x": "1"})], "b", id="selector"),
    pytest.param(claim(), [volume("a", claimRef={"namespace": "default", "name": "other"})], None, id="meant for another"),
    pytest.param(claim(), [volume("a", "1Gi"), volume("b", "9Gi", claimRef={"namespace": "default", "name": "c"})], "b", id="meant for it"),
])
def test_matching(the_claim: Object, volumes: list[Object], expected: str | None) -> None:
    found = find(the_claim, volumes)
    assert (found["metadata"]["name"] if found else None) == expected


async def make_claim(rig: Rig, **spec: Any) -> None:
    body = claim(**spec)
    del body["metadata"]["uid"]
    await rig.client.create(PERSISTENT_VOLUME_CLAIMS, body)
    await rig.settle()


def the_claim(rig: Rig) -> Object:
    return rig.client.all(PERSISTENT_VOLUME_CLAIMS)[0]


def phases(rig: Rig) -> list[str]:
    return [item["status"]["phase"] for item in rig.client.all(PERSISTENT_VOLUMES)]


async def test_a_claim_waits_is_bound_and_its_volume_released() -> None:
    async with Rig(binder.controller, protection.claims) as rig:
        await make_claim(rig)
        assert the_claim(rig)["status"]["phase"] == "Pending"
        assert ("FailedBinding", "no persistent volumes available for this claim and no storage class is set") in rig.events()
        await rig.client.create(PERSISTENT_VOLUMES, volume("v", "2Gi"))
        await rig.settle()
        found = the_claim(rig)
        assert (found["spec"]["volumeName"], found["status"]["phase"], found["status"]["capacity"]) == ("v", "Bound", {"storage": "2Gi"})
        assert phases(rig) == ["Bound"]
        rig.client.load(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {
            "nodeName": "n", "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]}, "status": {"phase": "Running"}})
        await rig.settle()
        await rig.client.delete(PERSISTENT_VOLUME_CLAIMS, "c", "default")
        await rig.settle()
        assert the_claim(rig)["metadata"]["deletionTimestamp"]
        await rig.client.delete(PODS, "p", "default", grace_period_seconds=0)
        await rig.settle()
        assert rig.client.all(PERSISTENT_VOLUME_CLAIMS) == []
        assert phases(rig) == ["Released"]


async def test_a_class_that_waits_leaves_the_claim_to_the_scheduler_and_then_to_the_provisioner() -> None:
    async with Rig(binder.controller) as rig:
        await rig.client.create(STORAGE_CLASSES, {"metadata": {"name": "local"}, "provisioner": "example.com/p",
                                                  "volumeBindingMode": "WaitForFirstConsumer"})
        await rig.client.create(PERSISTENT_VOLUMES, volume("v", storageClassName="local"))
        await make_claim(rig, storageClassName="local")
        assert the_claim(rig)["status"]["phase"] == "Pending"
        assert ("WaitForFirstConsumer", "waiting for first consumer to be created before binding") in rig.events()
        await rig.client.delete(PERSISTENT_VOLUMES, "v")
        await rig.client.patch(PERSISTENT_VOLUME_CLAIMS, "c", {"metadata": {"annotations": {binder.SELECTED_NODE: "n"}}}, "default")
        await rig.settle()
        assert the_claim(rig)["metadata"]["annotations"][binder.PROVISIONER] == "example.com/p"
        made = volume("pvc-1", storageClassName="local", claimRef={
            "namespace": "default", "name": "c", "uid": the_claim(rig)["metadata"]["uid"]})
        await rig.client.create(PERSISTENT_VOLUMES, made)
        await rig.settle()
        assert (the_claim(rig)["status"]["phase"], phases(rig)) == ("Bound", ["Bound"])


async def test_a_claim_whose_volume_has_gone_is_lost() -> None:
    async with Rig(binder.controller) as rig:
        await rig.client.create(PERSISTENT_VOLUMES, volume("v"))
        await make_claim(rig)
        await rig.client.delete(PERSISTENT_VOLUMES, "v")
        await rig.settle()
        assert the_claim(rig)["status"]["phase"] == "Lost"


async def test_a_default_class_that_comes_later_is_given_to_claims_that_named_none() -> None:
    async with Rig(binder.controller) as rig:
        await make_claim(rig)
        without = {**claim(storageClassName=""), "metadata": {"name": "none", "namespace": "default"}}
        await rig.client.create(PERSISTENT_VOLUME_CLAIMS, without)
        marked = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        for name, day, provisioner in (("old", 1, "p"), ("new", 2, "q")):
            rig.client.load(STORAGE_CLASSES, {"provisioner": provisioner, "metadata": {
                "name": name, "creationTimestamp": f"2026-01-0{day}T00:00:00Z", **marked}})
        await rig.settle(20)
        found = {item["metadata"]["name"]: item for item in rig.client.all(PERSISTENT_VOLUME_CLAIMS)}
        assert (found["c"]["spec"]["storageClassName"], found["none"]["spec"]["storageClassName"]) == ("new", "")
        assert found["c"]["metadata"]["annotations"][binder.PROVISIONER] == "q"


async def test_a_claim_says_for_which_pod_it_waits_and_why_the_volume_it_names_will_not_do() -> None:
    async with Rig(binder.controller) as rig:
        await rig.client.create(STORAGE_CLASSES, {"metadata": {"name": "local"}, "provisioner": "example.com/p",
                                                  "volumeBindingMode": "WaitForFirstConsumer"})
        await make_claim(rig, storageClassName="local")
        await rig.client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]}})
        await rig.settle(20)
        assert ("WaitForPodScheduled", "waiting for pod p to be scheduled") in rig.events()
        await rig.client.create(PERSISTENT_VOLUMES, volume("small", "1Mi"))
        await rig.client.create(PERSISTENT_VOLUME_CLAIMS, {
            **claim("1Gi", volumeName="small"), "metadata": {"name": "named", "namespace": "default"}})
        await rig.settle()
        assert ("VolumeMismatch", 'Cannot bind to requested volume "small": requested PV is too small') in rig.events()
