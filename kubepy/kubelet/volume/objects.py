"""ConfigMaps and Secrets that pods refer to, each read by name (all a node may do) and kept current by a watch of its own.

Follows upstream's `configMapAndSecretChangeDetectionStrategy`: Watch (the default), Cache (asked for again when older than the
time to live) and Get. A watch begins with the first pod that refers to the object and ends with the last one, or when nobody has
looked for five minutes; an immutable object needs none. Differs from upstream: pods that use an object hear at once that it has changed.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from kubepy.api.errors import NotFound
from kubepy.api.resource import CONFIGMAPS, SECRETS
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.informer import Informer
from kubepy.client.interface import Client

log = get_logger("objects")
Strategy = Literal["Watch", "Cache", "Get"]
Key = tuple[str, str, str]
"""Kind, namespace, name."""
_RESOURCES = {"ConfigMap": CONFIGMAPS, "Secret": SECRETS}
_TTL, _IDLE, _SWEEP = 60.0, 300.0, 60.0


@dataclass(slots=True)
class _Held:
    """One object somebody wants: `users` are the UIDs of pods, `asked` the monotonic time of the last look."""

    users: set[str] = field(default_factory=set)
    asked: float = 0.0
    fetched: float = 0.0
    obj: Object | None = None
    known: bool = False
    informer: Informer | None = None
    task: asyncio.Task[None] | None = None


class Objects:
    """`changed(uids)` is told which pods use what has changed. Many who want the same object share one request."""

    def __init__(self, client: Client, clock: Clock, strategy: Strategy = "Watch", changed: Callable[[set[str]], None] = lambda uids: None,
                 ttl: float = _TTL) -> None:
        self._client = client
        self._clock = clock
        self._strategy = strategy
        self._changed = changed
        self._ttl = ttl
        self._held: dict[Key, _Held] = {}
        self._requests: dict[Key, asyncio.Future[Object | None]] = {}
        self._tasks = Tasks("objects", clock)

    async def get(self, kind: str, namespace: str, name: str, uid: str = "") -> Object | None:
        """The object, or None when there is none; raises what the client raises. `uid` is the pod's that wants it."""
        key = (kind, namespace, name)
        held = self._held.setdefault(key, _Held())
        held.asked = self._clock.monotonic()
        if uid:
            held.users.add(uid)
        if held.informer is not None and held.informer.synced():
            obj = held.informer.lister.by_key(f"{namespace}/{name}")
            if obj is not None and obj.get("immutable"):
                held.obj, held.known = obj, True
                _end(held)
            return obj
        if held.known and held.obj is not None and (held.obj.get("immutable") or self._fresh(held)):
            return held.obj
        request = self._requests.get(key)
        if request is None:
            request = self._requests[key] = asyncio.ensure_future(self._fetch(key, held))
            request.add_done_callback(lambda _: self._requests.pop(key, None))
        return await asyncio.shield(request)

    def _fresh(self, held: _Held) -> bool:
        """An object fetched before its watch has begun is as good as one of the time to live."""
        return self._strategy != "Get" and self._clock.monotonic() - held.fetched < self._ttl

    async def _fetch(self, key: Key, held: _Held) -> Object | None:
        kind, namespace, name = key
        try:
            held.obj = await self._client.get(_RESOURCES[kind], name, namespace)
        except NotFound:
            held.obj = None
        held.known, held.fetched = True, self._clock.monotonic()
        if self._strategy == "Watch" and held.users and held.informer is None and not (held.obj or {}).get("immutable"):
            self._watch(key, held)
        return held.obj

    def _watch(self, key: Key, held: _Held) -> None:
        kind, namespace, name = key
        informer = held.informer = Informer(self._client, _RESOURCES[kind], namespace, field_selector=f"metadata.name={name}",
                                            clock=self._clock)
        version = held.obj["metadata"].get("resourceVersion") if held.obj is not None else None

        def news(obj: Object) -> None:
            if obj["metadata"].get("resourceVersion") != version:
                self._changed(set(held.users))

        informer.add_handler(news, lambda _, obj: news(obj), lambda _: self._changed(set(held.users)))
        held.task = self._tasks.start(informer.run(), f"watch/{kind}/{namespace}/{name}")

    async def gather(self, namespace: str, references: Iterable[tuple[str, str]], uid: str = "") -> dict[tuple[str, str], Object | None]:
        wanted = list(dict.fromkeys(references))
        found = await asyncio.gather(*(self.get(kind, namespace, name, uid) for kind, name in wanted))
        return dict(zip(wanted, found, strict=True))

    def release(self, uid: str) -> None:
        """The pod has ended: what only it has used is let go."""
        for key, held in list(self._held.items()):
            held.users.discard(uid)
            if not held.users:
                _end(held)
                del self._held[key]

    async def run(self) -> None:
        """Ends the watches nobody looks at any more."""
        while True:
            await self._clock.sleep(_SWEEP)
            self.sweep()

    def sweep(self) -> None:
        now = self._clock.monotonic()
        for key, held in list(self._held.items()):
            if now - held.asked > _IDLE:
                _end(held)
                if held.users:
                    held.known = False  # the next look fetches it anew
                else:
                    del self._held[key]

    def watched(self) -> int:
        """How many watches there are."""
        return sum(1 for held in self._held.values() if held.task is not None)

    async def stop(self) -> None:
        await self._tasks.stop()


def _end(held: _Held) -> None:
    if held.task is not None:
        held.task.cancel()
    held.task = held.informer = None
