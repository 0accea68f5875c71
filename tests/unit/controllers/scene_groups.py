"""Scenes of the groups that are off by default: storage versions, migrations, what is published and cleared away, devices."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from chaos import Flaky
from scene import Scene, World, names
from scene_nodes import DeviceTaints

from kubepy.api.errors import NotFound
from kubepy.api.resource import (
    CLUSTER_TRUST_BUNDLES,
    DEVICE_TAINT_RULES,
    LEASES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_CERTIFICATE_REQUESTS,
    PODS,
    RESOURCE_POOL_STATUS_REQUESTS,
    RESOURCE_SLICES,
    STORAGE_VERSION_MIGRATIONS,
    STORAGE_VERSIONS,
    Resource,
)
from kubepy.api.types import Object
from kubepy.base.gate import Gates
from kubepy.client.interface import PatchType
from kubepy.controllers import devicetaint, resourcepool, storageversion
from kubepy.controllers.certificate import clean, publish
from kubepy.controllers.kit.option import Options
from kubepy.controllers.migration import reconcile as migration
from kubepy.controllers.volume import binder

RULES = Options(gates=Gates({"DRADeviceTaintRules": True}))
WIDGETS = Resource("example.com", "v2", "widgets", "Widget", True)


class StorageVersions(Scene):
    builds = (storageversion.controller,)

    async def act(self, world: World, number: int) -> None:
        """Servers come, tell what they store, and go; some tell it without ever having been there."""
        if world.dice.random() < 0.7:
            await world.create(LEASES, f"apiserver-{number}", "kube-system", spec={}, metadata={
                "labels": {storageversion.LABEL: storageversion.COMPONENT}})
        name = f"apps.r{number % 4}"
        await world.create(STORAGE_VERSIONS, name, None, spec={}, status={})
        found = next((item for item in world.all(STORAGE_VERSIONS) if item["metadata"]["name"] == name), None)
        if found is not None:
            entry = {"apiServerID": f"apiserver-{number}", "encodingVersion": f"apps/v{number % 2 + 1}"}
            entries = [*(found.get("status") or {}).get("storageVersions", []), entry]
            await world.patch(STORAGE_VERSIONS, found, {"status": {"storageVersions": entries}}, "status")
        if world.dice.random() < 0.4 and (lease := world.some(LEASES)) is not None:
            await world.delete(LEASES, lease)

    def check(self, world: World) -> None:
        living = set(names(world.all(LEASES)))
        for item in world.all(STORAGE_VERSIONS):
            entries = item["status"].get("storageVersions") or []
            assert {entry["apiServerID"] for entry in entries} <= living
            versions = {entry["encodingVersion"] for entry in entries}
            if "conditions" in item["status"]:
                assert item["status"].get("commonEncodingVersion") == (versions.pop() if len(versions) == 1 else None)


class Served(Flaky):
    """A server with a custom resource: an apply patch that names an object as it is marks it as written again."""

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        self._refuse()
        if path == "/apis/example.com":
            return orjson.dumps({"versions": [{"version": "v1"}, {"version": "v2"}], "preferredVersion": {"version": "v2"}})
        if path == "/apis/example.com/v2":
            return orjson.dumps({"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True, "verbs": ["list", "patch"]}]})
        raise NotFound("no such group")

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        if type == "apply":
            assert field_manager == "storage-version-migrator-controller"
            patch = {"metadata": patch["metadata"], "stored": "v2"}
            type = "merge"
        return await super().patch(resource, name, patch, namespace, type=type, subresource=subresource)


class Migrations(Scene):
    builds = (migration.controller,)
    client = Served

    async def begin(self, world: World) -> None:
        await world.create(migration.DEFINITIONS, "widgets.example.com", None, spec={
            "versions": [{"name": "v1", "storage": False}, {"name": "v2", "storage": True}]}, status={"storedVersions": ["v1", "v2"]})

    async def act(self, world: World, number: int) -> None:
        if number <= 6:
            await world.create(WIDGETS, f"w-{number}", stored="v1")
        if number % 3 == 0:
            resource = {"group": "example.com", "resource": "widgets"} if number != 9 else {"group": "nobody.io", "resource": "ghosts"}
            await world.create(STORAGE_VERSION_MIGRATIONS, f"m-{number}", None, spec={"resource": resource})
        running = [item for item in world.all(STORAGE_VERSION_MIGRATIONS) if migration.holds(item, "Running")]
        assert len({migration.about(item) for item in running}) == len(running), "one at a time"

    def check(self, world: World) -> None:
        assert {item["stored"] for item in world.all(WIDGETS)} == {"v2"}
        ends = {item["metadata"]["name"]: {entry["type"]: entry["status"] for entry in item["status"]["conditions"]}
                for item in world.all(STORAGE_VERSION_MIGRATIONS)}
        assert ends.pop("m-9") == {"Failed": "True"}
        assert all(end == {"Running": "False", "Succeeded": "True"} for end in ends.values())
        [definition] = world.all(migration.DEFINITIONS)
        assert definition["status"]["storedVersions"] == ["v2"]
        assert [item["reason"] for item in definition["status"]["conditions"]] == ["MigrationSucceeded"]


class Publishing(Scene):
    builds = (publish.controller, clean.pods)
    after = 40

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options = Options(root_ca="-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")

    async def act(self, world: World, number: int) -> None:
        await world.create(POD_CERTIFICATE_REQUESTS, f"r-{number}", spec={})
        chance = world.dice.random()
        if chance < 0.3:
            await world.create(CLUSTER_TRUST_BUNDLES, f"kubernetes.io:kube-apiserver-serving:old{number}", None, spec={
                "signerName": publish.SIGNER, "trustBundle": "old"})
        elif chance < 0.5:
            await world.create(CLUSTER_TRUST_BUNDLES, f"mine-{number}", None, spec={"trustBundle": "mine"})
            world.seen[f"mine-{number}"] = True
        elif chance < 0.8 and (bundle := world.some(CLUSTER_TRUST_BUNDLES)) is not None and bundle["spec"].get("signerName"):
            await (world.delete(CLUSTER_TRUST_BUNDLES, bundle) if chance < 0.65 else
                   world.patch(CLUSTER_TRUST_BUNDLES, bundle, {"spec": {"trustBundle": "changed"}}))

    def check(self, world: World) -> None:
        bundle = publish.bundle_name(publish.SIGNER, self.options.root_ca)
        assert names(world.all(CLUSTER_TRUST_BUNDLES)) == sorted([bundle, *world.seen])
        assert {item["spec"]["trustBundle"] for item in world.all(CLUSTER_TRUST_BUNDLES)} <= {"mine", self.options.root_ca}
        assert world.all(POD_CERTIFICATE_REQUESTS) == []


class PoolStatus(Scene):
    builds = (resourcepool.controller,)
    options = RULES

    async def act(self, world: World, number: int) -> None:
        pool = number % 3
        await world.create(RESOURCE_SLICES, f"s-{number}", None, spec={
            "driver": "d.io", "pool": {"name": f"p{pool}", "generation": 1, "resourceSliceCount": 4}, "devices": [{"name": f"g{number}"}]})
        await world.create(RESOURCE_POOL_STATUS_REQUESTS, f"q-{number}", None, spec={"driver": "d.io", "limit": 2})
        if world.dice.random() < 0.3:
            await world.create(DEVICE_TAINT_RULES, f"t-{number}", None, spec={
                "deviceSelector": {"device": f"g{number}"}, "taint": {"key": "k", "effect": "NoSchedule"}})

    def check(self, world: World) -> None:
        for item in world.all(RESOURCE_POOL_STATUS_REQUESTS):
            status = item["status"]
            assert [entry["type"] for entry in status["conditions"]] == ["Complete"]
            assert 1 <= len(status["pools"]) <= 2
            for pool in status["pools"]:
                assert "validationError" in pool or pool["totalDevices"] == pool["availableDevices"] + pool["unavailableDevices"] == 4


class DeviceRules(DeviceTaints):
    """As drivers' taints, with those of administrators."""

    builds = (devicetaint.controller,)
    options = RULES

    async def act(self, world: World, number: int) -> None:
        await super().act(world, number)
        if number % 4 == 2:
            effect = world.dice.choice(("None", "NoSchedule", "NoExecute"))
            await world.create(DEVICE_TAINT_RULES, f"t-{number}", None, metadata={"generation": 1}, spec={
                "deviceSelector": {"device": f"d{number}"}, "taint": {"key": "k", "effect": effect}})
            if effect == "NoExecute":
                world.seen["devices"][f"d{number}"] = True
                world.seen.setdefault("ruled", set()).add(f"d{number}")
                world.seen["ever"].add(f"d{number}")
        for name in world.seen.get("ruled", ()):
            world.seen["devices"][name] = True

    def check(self, world: World) -> None:
        super().check(world)
        for rule in world.all(DEVICE_TAINT_RULES):
            [told] = rule["status"]["conditions"]
            assert (told["type"], told["status"], told["observedGeneration"]) == ("EvictionInProgress", "False", 1)
            assert told["reason"] in {"None": ("NoEffect",), "NoSchedule": ("OtherEffect",)}.get(
                rule["spec"]["taint"]["effect"], ("Completed", "NotStarted"))
        assert all(pod["metadata"]["name"] for pod in world.all(PODS))


class Recycled(Scene):
    """Claims come and go; pods that scrub end well, badly, or are deleted by somebody."""

    builds = (binder.controller,)

    async def act(self, world: World, number: int) -> None:
        await world.create(PERSISTENT_VOLUMES, f"v-{number}", None, spec={
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Recycle",
            "hostPath": {"path": f"/data/{number}"}})
        await world.create(PERSISTENT_VOLUME_CLAIMS, f"c-{number}", spec={
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})
        if world.dice.random() < 0.5 and (claim := world.some(PERSISTENT_VOLUME_CLAIMS)) is not None:
            await world.delete(PERSISTENT_VOLUME_CLAIMS, claim)
        await self._end(world, "Succeeded", "Failed", "")

    async def _end(self, world: World, *ways: str) -> None:
        for pod in world.all(PODS):
            way = world.dice.choice(ways)
            if way:
                await world.patch(PODS, pod, {"status": {"phase": way}}, "status")
            else:
                await world.delete(PODS, pod, grace_period_seconds=0)

    async def late(self, world: World) -> None:
        for _ in range(4):
            await self._end(world, "Succeeded")
            await world.rig.settle(125)

    def check(self, world: World) -> None:
        assert world.all(PODS) == []
        claims = {item["metadata"]["uid"] for item in world.all(PERSISTENT_VOLUME_CLAIMS)}
        for volume in world.all(PERSISTENT_VOLUMES):
            owner = (volume["spec"].get("claimRef") or {}).get("uid")
            assert volume["status"]["phase"] == ("Bound" if owner else "Available")
            assert owner is None or owner in claims
        assert all(item["status"]["phase"] == "Bound" for item in world.all(PERSISTENT_VOLUME_CLAIMS))
