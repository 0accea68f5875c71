"""Scene of volumes that are directories of a node: what their users do, and where everything must end."""
from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chaos import Flaky
from scene import Scene, World

from kubepy.api.resource import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from kubepy.controllers.kit.option import Options
from kubepy.controllers.localpath import plan as localpath
from kubepy.controllers.localpath import reconcile as provisioner
from kubepy.controllers.volume import binder, expand


class Inline(ThreadPoolExecutor):
    """What goes to a thread is done at once: the virtual clock does not wait for threads."""

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **options))
        except OSError as error:
            future.set_exception(error)
        return future


class LocalPaths(Scene):
    builds = (binder.controller, provisioner.controller, expand.controller)

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = directory / "volumes"
        self.options = Options(local_path_node="n", local_path_directory=str(self.base))
        asyncio.get_running_loop().set_default_executor(Inline(1))
        for name in ("_make", "_remove"):
            monkeypatch.setattr(provisioner, name, self.unreliable(client, getattr(provisioner, name)))

    def unreliable(self, client: Flaky, act: Any) -> Any:
        def acting(path: Path) -> None:
            if client.random.random() < client.rate:
                raise OSError("the disk has hiccups")
            act(path)

        return acting

    async def begin(self, world: World) -> None:
        for name in ("n", "far"):
            world.rig.client.load(NODES, {"metadata": {"name": name}, "spec": {}})
        await world.create(STORAGE_CLASSES, "fast", None, provisioner=localpath.PROVISIONER, reclaimPolicy="Delete",
                           volumeBindingMode="WaitForFirstConsumer", allowVolumeExpansion=True)

    async def act(self, world: World, number: int) -> None:
        where = world.dice.choice(("n", "n", "n", "far"))
        await world.create(PERSISTENT_VOLUME_CLAIMS, f"c-{number % 8}", metadata={"annotations": {localpath.SELECTED_NODE: where}}, spec={
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "1Mi"}}})
        if world.dice.random() < 0.4 and (found := world.some(PERSISTENT_VOLUME_CLAIMS)) is not None:
            size = f"{world.dice.randrange(2, 5)}Mi"
            bound = (found.get("status") or {}).get("phase") == "Bound"  # no other may grow
            if bound and size > found["spec"]["resources"]["requests"]["storage"]:
                await world.patch(PERSISTENT_VOLUME_CLAIMS, found, {"spec": {"resources": {"requests": {"storage": size}}}})
        if world.dice.random() < 0.4 and (found := world.some(PERSISTENT_VOLUME_CLAIMS)) is not None:
            await world.delete(PERSISTENT_VOLUME_CLAIMS, found)
        for claim in world.all(PERSISTENT_VOLUME_CLAIMS):
            if not claim["spec"].get("volumeName"):  # the scheduler, when a node could not do it
                await world.patch(PERSISTENT_VOLUME_CLAIMS, claim, {"metadata": {"annotations": {localpath.SELECTED_NODE: "n"}}})

    async def late(self, world: World) -> None:
        await self.act(world, 100)
        await world.rig.settle(60)
        far = next(node for node in world.all(NODES) if node["metadata"]["name"] == "far")
        await world.delete(NODES, far)
        await world.rig.settle(provisioner.SWEEP)

    def check(self, world: World) -> None:
        volumes = {item["metadata"]["name"]: item for item in world.all(PERSISTENT_VOLUMES)}
        claims = world.all(PERSISTENT_VOLUME_CLAIMS)
        assert sorted(claim["spec"]["volumeName"] for claim in claims) == sorted(volumes)
        for claim in claims:
            volume = volumes[claim["spec"]["volumeName"]]
            assert (claim["status"]["phase"], volume["status"]["phase"]) == ("Bound", "Bound")
            if volume["spec"].get("local"):
                assert claim["status"]["capacity"] == volume["spec"]["capacity"] == claim["spec"]["resources"]["requests"]
        here = sorted(Path(item["spec"]["local"]["path"]).name for item in volumes.values() if item["spec"].get("local"))
        assert sorted(os.listdir(self.base)) == here
