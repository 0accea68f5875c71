"""A server whose watches are late: what its kinds differ in is how late an event is, and how often it comes."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from kubepy.api.resource import Resource
from kubepy.client.interface import WatchEvent
from kubepy.client.memory import MemoryClient


class Late(MemoryClient):
    async def passed(self) -> bool:
        """Waits as long as the next event is held up; whether it comes twice."""
        return False

    async def watch(self, resource: Resource, namespace: str | None = None, *, resource_version: str = "", label_selector: str = "",
                    field_selector: str = "", bookmarks: bool = True, send_initial_events: bool = False,
                    timeout_seconds: int | None = None) -> AsyncIterator[WatchEvent]:
        events = super().watch(resource, namespace, resource_version=resource_version, label_selector=label_selector,
                               field_selector=field_selector)
        async with aclosing(cast(Any, events)):
            async for event in events:
                twice = await self.passed()
                yield event
                if twice:
                    yield event
