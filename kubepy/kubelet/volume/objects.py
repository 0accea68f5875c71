"""ConfigMaps and Secrets that pods refer to, fetched one by one (all a node may do) and kept for a short time."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kubepy.api.errors import NotFound
from kubepy.api.resource import CONFIGMAPS, SECRETS
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.interface import Client

_RESOURCES = {"ConfigMap": CONFIGMAPS, "Secret": SECRETS}


class Objects:
    """A cache with a time to live in seconds; immutable objects stay. Many who want the same one share one request."""

    def __init__(self, client: Client, clock: Clock, ttl: float = 15.0) -> None:
        self._client = client
        self._clock = clock
        self._ttl = ttl
        self._held: dict[tuple[str, str, str], tuple[float, Object | None]] = {}
        self._asked: dict[tuple[str, str, str], asyncio.Future[Object | None]] = {}

    async def get(self, kind: str, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """The object, or None when there is none; raises what the client raises. `fresh` asks the server in any case."""
        key = (kind, namespace, name)
        held = self._held.get(key)
        if held is not None and not fresh:
            at, obj = held
            if obj is not None and (obj.get("immutable") or self._clock.monotonic() - at < self._ttl):
                return obj
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.ensure_future(self._fetch(key))
            asked.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(asked)

    async def _fetch(self, key: tuple[str, str, str]) -> Object | None:
        kind, namespace, name = key
        try:
            obj: Object | None = await self._client.get(_RESOURCES[kind], name, namespace)
        except NotFound:
            obj = None
        self._held[key] = (self._clock.monotonic(), obj)
        if len(self._held) > 4096:
            self._held.pop(next(iter(self._held)))
        return obj

    def forget_all(self) -> None:
        """Asks the server again for everything from now on."""
        self._held.clear()

    async def gather(self, namespace: str, references: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Object | None]:
        wanted = list(dict.fromkeys(references))
        found = await asyncio.gather(*(self.get(kind, namespace, name) for kind, name in wanted))
        return dict(zip(wanted, found, strict=True))
