"""Garbage collection: background, foreground, orphan; absent owners, several owners, changed minds."""
from __future__ import annotations

from typing import Any

import orjson
from rig import Rig

from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, PODS, REPLICA_SETS, Resource
from kubepy.api.types import Object
from kubepy.client.memory import MemoryClient
from kubepy.controllers.garbage.collector import controller


class Discoverable(MemoryClient):
    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        if path == "/apis":
            return orjson.dumps({"groups": [{"name": "apps", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}]})
        group = [PODS, CONFIGMAPS] if path == "/api/v1" else [DEPLOYMENTS, REPLICA_SETS]
        return orjson.dumps({"resources": [{"name": item.plural, "kind": item.kind, "namespaced": True,
                                            "verbs": ["list", "watch", "delete"]} for item in group]})


def rig() -> Rig:
    return Rig(controller, client=Discoverable())


async def make(rig: Rig, resource: Resource, name: str, *owners: Object, block: bool = True, **metadata: Any) -> Object:
    references = [{"apiVersion": item["apiVersion"], "kind": item["kind"], "name": item["metadata"]["name"], "uid": item["metadata"]["uid"],
                   "blockOwnerDeletion": block} for item in owners]
    return await rig.client.create(resource, {"metadata": {"name": name, "namespace": "default", "ownerReferences": references, **metadata},
                                              "spec": {}})


async def tree(rig: Rig) -> None:
    deployment = await make(rig, DEPLOYMENTS, "d")
    replica_set = await make(rig, REPLICA_SETS, "r", deployment)
    for name in ("p1", "p2"):
        await make(rig, PODS, name, replica_set)
    await rig.settle()


def names(rig: Rig) -> list[str]:
    return [item["metadata"]["name"] for resource in (DEPLOYMENTS, REPLICA_SETS, PODS, CONFIGMAPS) for item in rig.client.all(resource)]


async def test_what_is_owned_stays_while_its_owner_does() -> None:
    async with rig() as r:
        await tree(r)
        await r.settle(120)
        assert names(r) == ["d", "r", "p1", "p2"]
        assert [action for action in r.client.actions if action.verb in ("delete", "patch")] == []


async def test_background_deletion_reaches_the_whole_tree() -> None:
    async with rig() as r:
        await tree(r)
        await r.client.delete(DEPLOYMENTS, "d", "default", propagation="Background")
        await r.settle()
        assert names(r) == []


async def test_foreground_deletion_goes_from_the_leaves_up() -> None:
    async with rig() as r:
        await tree(r)
        await r.client.patch(PODS, "p1", {"metadata": {"finalizers": ["hold"]}}, "default")
        await r.client.delete(DEPLOYMENTS, "d", "default", propagation="Foreground")
        await r.settle()
        assert names(r) == ["d", "r", "p1"]
        await r.client.patch(PODS, "p1", {"metadata": {"finalizers": None}}, "default")
        await r.settle()
        assert names(r) == []


async def test_a_dependent_that_does_not_block_is_not_waited_for() -> None:
    async with rig() as r:
        owner = await make(r, DEPLOYMENTS, "d")
        await make(r, CONFIGMAPS, "c", owner, block=False, finalizers=["hold"])
        await r.settle()
        await r.client.delete(DEPLOYMENTS, "d", "default", propagation="Foreground")
        await r.settle()
        assert names(r) == ["c"]
        assert r.client.all(CONFIGMAPS)[0]["metadata"]["deletionTimestamp"]


async def test_orphaned_dependents_stay_without_the_reference() -> None:
    async with rig() as r:
        await tree(r)
        await r.client.delete(DEPLOYMENTS, "d", "default", propagation="Orphan")
        await r.settle()
        assert names(r) == ["r", "p1", "p2"]
        assert not r.client.all(REPLICA_SETS)[0]["metadata"].get("ownerReferences")


async def test_with_another_owner_left_only_the_reference_goes() -> None:
    async with rig() as r:
        one, two = await make(r, DEPLOYMENTS, "d1"), await make(r, DEPLOYMENTS, "d2")
        await make(r, CONFIGMAPS, "c", one, two)
        await r.settle()
        await r.client.delete(DEPLOYMENTS, "d1", "default")
        await r.settle()
        assert [ref["name"] for ref in r.client.all(CONFIGMAPS)[0]["metadata"]["ownerReferences"]] == ["d2"]


async def test_an_owner_that_never_existed_is_absent() -> None:
    async with rig() as r:
        ghost = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ghost", "uid": "nobody"}}
        await make(r, CONFIGMAPS, "c", ghost)
        unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", "uid": "y"}}
        await make(r, CONFIGMAPS, "kept", unknown)
        await r.settle()
        assert names(r) == ["kept"]


async def test_an_owner_of_the_same_name_with_another_uid_is_absent() -> None:
    async with rig() as r:
        old = await make(r, DEPLOYMENTS, "d")
        await r.client.delete(DEPLOYMENTS, "d", "default")
        await make(r, DEPLOYMENTS, "d")
        await make(r, CONFIGMAPS, "c", old)
        await r.settle()
        assert names(r) == ["d"]
