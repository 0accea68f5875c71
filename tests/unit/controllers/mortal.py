"""A leader that dies after a certain write, and a server whose cache is behind when the next one starts."""
from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
from late import Late

from kubepy.api.resource import EVENTS, Resource
from kubepy.api.types import Object
from kubepy.client.interface import PatchType, Propagation

BEHIND = 5.0
"""Seconds by which the caches are behind."""


class Mortal(Late):
    """The process of which it is the client dies with its `last` write: that takes effect, and nothing is answered any more.

    Lists of any version are those of `lag` writes ago, watches from there come late."""

    def __init__(self, last: int = 0, lag: int = 6) -> None:
        super().__init__()
        self.last, self.lag = last, lag
        self.writes = 0
        self.dead = False
        self.behind_until = 0.0
        self.made: Counter[str] = Counter()
        """What was created, by resource."""

    def revive(self) -> None:
        """Another process has taken over; the server's caches are behind for a while."""
        self.dead, self.last = False, 0
        self.behind_until = self._clock.monotonic() + BEHIND

    async def _alive(self) -> None:
        if self.dead:
            await asyncio.Event().wait()

    async def _wrote(self, resource: Resource) -> None:
        if resource == EVENTS:
            return
        self.writes += 1
        if self.writes == self.last:
            self.dead = True
        await self._alive()

    async def get(self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object:
        await self._alive()
        return await super().get(resource, name, namespace, subresource=subresource)

    async def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "",
                   resource_version: str | None = None, limit: int = 0, continue_token: str = "") -> Object:
        await self._alive()
        found = await super().list(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        if resource_version == "0" and self._clock.monotonic() < self.behind_until:
            revision = max(self._revision - self.lag, 1)
            items = {item["metadata"]["uid"]: item for item in found["items"]}
            for change in reversed(self._history):
                if change.revision > revision and change.resource == resource:
                    items.pop(orjson.loads(change.raw)["metadata"]["uid"], None)
                    if change.previous is not None:
                        old = orjson.loads(change.previous)
                        items[old["metadata"]["uid"]] = old
            found = {**found, "items": list(items.values()), "metadata": {"resourceVersion": str(revision)}}
        return found

    async def passed(self) -> bool:
        if (wait := self.behind_until - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        return False

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        await self._alive()
        made = await super().create(resource, obj, namespace, name=name, subresource=subresource, dry_run=dry_run)
        if not subresource and resource != EVENTS:
            self.made[resource.plural] += 1
        await self._wrote(resource)
        return made

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        await self._alive()
        made = await super().update(resource, obj, subresource=subresource)
        await self._wrote(resource)
        return made

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        await self._alive()
        made = await super().patch(resource, name, patch, namespace, type=type, subresource=subresource)
        await self._wrote(resource)
        return made

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None,
                     propagation: Propagation | None = None, uid: str | None = None, resource_version: str | None = None) -> Object:
        await self._alive()
        made = await super().delete(resource, name, namespace, grace_period_seconds=grace_period_seconds, propagation=propagation,
                                    uid=uid, resource_version=resource_version)
        await self._wrote(resource)
        return made
