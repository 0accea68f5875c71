"""What the scenes of test_convergence_others have in common: a world to act in, and what a scene is."""
from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chaos import Flaky, insist
from rig import Rig

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.client.controller import Controller
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.option import Options

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
    client: Callable[[int], Flaky] = Flaky
    strict = False
    pods = False
    """Whether pods live and die as kubelets have them (see `chaos`)."""
    after = 20

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before the controllers are built: files they need, what stands for the world outside."""

    async def begin(self, world: World) -> None: ...

    async def act(self, world: World, number: int) -> None: ...

    async def late(self, world: World) -> None:
        """After the chaos, once."""

    def check(self, world: World) -> None: ...
