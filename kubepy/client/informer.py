"""Informers: a local copy of a resource kept current by list and watch, with handlers and indexes (`client-go/tools/cache`).

    factory = InformerFactory(client)
    pods = factory.informer(PODS)
    pods.add_index("node", lambda pod: [pod["spec"].get("nodeName", "")])
    pods.add_handler(on_add=..., on_update=..., on_delete=...)
    factory.start(tasks); await factory.wait_synced()
    pods.lister.by_index("node", "worker-1")

Handlers run in the informer's task, in the order of changes, and must not wait: they enqueue. A watch that ends is taken
up where it ended; when its history is gone (410) everything is listed again and the difference is handed to the handlers.
A resource that the server does not serve (an older one, see `client.served`) is taken as empty and asked for now and then.
Differs from upstream: no periodic resync, a handler added late sees the present objects at once, and an object whose place another of
its name has taken unseen is handed over as a deletion and an addition, never as an update.
"""
from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, cast

from kubepy.api.errors import ApiError, Expired, Forbidden, Gone, NotFound, Timeout
from kubepy.api.pod import controller_of
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.interface import Client
from kubepy.client.served import lacks
from kubepy.client.store import IndexFunction, Store, key_of

log = get_logger("informer")

OnAdd = Callable[[Object], None]
OnUpdate = Callable[[Object, Object], None]
OnDelete = Callable[[Object], None]
Transform = Callable[[Object], Object]
Handler = tuple[OnAdd | None, OnUpdate | None, OnDelete | None]


class _Route(NamedTuple):
    add: Sequence[OnAdd]
    update: Sequence[OnUpdate]
    delete: Sequence[OnDelete]


PAGE = 500
ROUTES_KEPT = 1000
ASK_AGAIN = 30.0
"""Seconds between questions for a resource that the server does not serve."""


def drop_managed_fields(obj: Object) -> Object:
    """The usual transform: nobody who reconciles reads managedFields, and they are half the bytes."""
    obj["metadata"].pop("managedFields", None)
    return obj


class Informer:
    """One resource, in one namespace or all, perhaps selected. `transform` may change the fresh object it is given; if it has a method
    `update(old, new)`, that is called for objects that are known already."""

    def __init__(self, client: Client, resource: Resource, namespace: str | None = None, *, field_selector: str = "",
                 label_selector: str = "", transform: Transform | None = drop_managed_fields, clock: Clock | None = None,
                 paged: bool = False, fresh: bool = False, optional: bool = False) -> None:
        self.resource = resource
        self.lister = Store()
        self._client = client
        self._namespace = namespace
        self._fields, self._labels = field_selector, label_selector
        self._transform = transform
        self._paged, self._fresh, self._optional = paged, fresh, optional
        self._clock = clock or SystemClock()
        self._update: Callable[[Object, Object], Object] | None = getattr(transform, "update", None)
        self._handlers: list[tuple[Handler, str]] = []
        self._owners: set[str] = set()
        self._routes: dict[tuple[str, ...], _Route] = {}
        self._synced = asyncio.Event()
        self._version: str | None = None
        self._history_lost = False
        self.missing = False
        """The server does not serve the resource: `lister` stays empty."""

    @property
    def resource_version(self) -> str:
        """Up to where the cache has seen changes; "" before the first list."""
        return self._version or ""

    def synced(self) -> bool:
        """The first list has arrived and its handlers have run."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def add_index(self, name: str, function: IndexFunction) -> None:
        self.lister.add_index(name, function)

    def add_handler(self, on_add: OnAdd | None = None, on_update: OnUpdate | None = None, on_delete: OnDelete | None = None, *,
                    owned_by: str = "") -> None:
        """With `owned_by` it sees only objects whose controller is (or was) of that kind, and those that have none."""
        self._handlers.append(((on_add, on_update, on_delete), owned_by))
        self._routes.clear()
        if owned_by:
            self._owners.add(owned_by)
        if on_add is not None:
            for obj in list(self.lister):
                if not owned_by or _owner_kind(obj) in ("", owned_by):
                    self._call(on_add, obj)

    async def run(self) -> None:
        """Lists and watches until cancelled, through every failure of server or connection."""
        backoff = Backoff(0.2, 10.0, jitter=0.5)
        while True:
            began = self._clock.monotonic()
            try:
                if self._version is None or self._history_lost:
                    await self._list()
                await self._watch()
                if self._clock.monotonic() - began >= 1.0:
                    backoff.reset()
                    continue  # the server ends watches now and then: no reason to wait
            except (Gone, Expired):
                log.v(2).info("History is gone, listing again", resource=self.resource.group_resource)
                self._history_lost = True
            except (ApiError, ConnectionError) as error:
                if isinstance(error, (NotFound, Forbidden)) and (self._optional or await lacks(self._client, self.resource)):
                    self._miss()
                    await self._clock.sleep(ASK_AGAIN)
                    continue
                if self._clock.monotonic() - began >= 60.0:
                    backoff.reset()
                if self._synced.is_set():
                    log.v(2).info("Watch lost", resource=self.resource.group_resource, err=error)
                else:
                    log.warning("Cannot list yet", resource=self.resource.group_resource, err=error)
            await self._clock.sleep(backoff.next())

    def _miss(self) -> None:
        if not self.missing:
            log.warning("Not served by this server, or not readable: taken as empty", resource=self.resource.group_resource,
                        version=self.resource.api_version)
        self.missing = True
        self._synced.set()

    async def _list(self) -> None:
        """Fills the store. The first list may be any state the server has cached (unless it is to be fresh, or in pages, which servers
        only make of the newest), a later one not older than ours. Pages are transformed as they come, so that they are never all there
        in full."""
        first = self._version is None
        paged = self._history_lost or (first and self._paged)
        try:
            items, version = await self._pages("" if paged or (first and self._fresh) else self._version or "0", PAGE if paged else 0)
        except (Gone, Expired, Timeout):
            items, version = await self._pages("", 0)
        fresh = set()
        for item in items:
            fresh.add(key := key_of(item))
            self._keep(key, self.lister.by_key(key), item)
        for key in self.lister.keys() - fresh:
            self._remove(key, None)
        self._version, self._history_lost = version, False
        if self.missing:
            log.info("Served now", resource=self.resource.group_resource)
            self.missing = False
        self._synced.set()

    async def _pages(self, version: str, limit: int) -> tuple[list[Object], str]:
        items: list[Object] = []
        token = ""
        while True:
            page = await self._client.list(self.resource, self._namespace, resource_version=None if token else version or None,
                                           limit=limit, continue_token=token, field_selector=self._fields,
                                           label_selector=self._labels)
            items += page["items"] if self._transform is None else map(self._transform, page["items"])
            token = page["metadata"].get("continue") or ""
            if not token:
                return items, page["metadata"]["resourceVersion"]

    async def _watch(self) -> None:
        events = self._client.watch(self.resource, self._namespace, resource_version=self._version or "",
                                    timeout_seconds=random.randint(300, 600), field_selector=self._fields,
                                    label_selector=self._labels)
        async with aclosing(cast(Any, events)):
            async for type, obj in events:
                if type in ("ADDED", "MODIFIED"):
                    self._put(key_of(obj), obj)
                elif type == "DELETED":
                    self._remove(key_of(obj), obj)
                self._version = obj["metadata"]["resourceVersion"]

    def _put(self, key: str, obj: Object) -> None:
        old = self.lister.by_key(key)
        if self._transform is not None:
            obj = self._update(old, obj) if old is not None and self._update is not None else self._transform(obj)
        self._keep(key, old, obj)

    def _keep(self, key: str, old: Object | None, obj: Object) -> None:
        """`obj` has been transformed, `old` is what is there."""
        new = obj["metadata"]
        before = old["metadata"] if old is not None else new
        if before.get("uid") != new.get("uid"):
            self._remove(key, None)
            old = None
        if old is None:
            self.lister.put(key, obj)
            for on_add in self._route(obj).add:
                self._call(on_add, obj)
        elif before.get("resourceVersion") != new.get("resourceVersion"):
            self.lister.put(key, obj)
            for on_update in self._route(obj, old).update:
                try:
                    on_update(old, obj)
                except Exception as error:  # as in _call, without the call: most events come here
                    self._failed(error, obj)

    def _route(self, obj: Object, old: Object | None = None) -> _Route:
        """Whom the object concerns as it is and as it was."""
        kinds: tuple[str, ...] = (_owner_kind(obj),) if self._owners else ("",)
        if old is not None and self._owners and old["metadata"].get("ownerReferences") != obj["metadata"].get("ownerReferences"):
            kinds = (*kinds, _owner_kind(old))
        found = self._routes.get(kinds)
        if found is None:
            chosen = [handler for handler, owner in self._handlers if not owner or owner in kinds or "" in kinds]
            found = _Route([one[0] for one in chosen if one[0]], [one[1] for one in chosen if one[1]], [one[2] for one in chosen if one[2]])
            if len(self._routes) < ROUTES_KEPT:
                self._routes[kinds] = found
        return found

    def _remove(self, key: str, last: Object | None) -> None:
        """`last` is the state it was deleted in; unknown after a gap, when the handlers get the state last seen."""
        old = self.lister.remove(key)
        if old is None:
            return
        if last is not None and self._transform is not None:
            last = self._transform(last)
        for on_delete in self._route(last or old, old).delete:
            self._call(on_delete, last or old)

    def _call(self, handler: Callable[..., None], *args: Object) -> None:
        try:
            handler(*args)
        except Exception as error:  # one consumer's fault must not stop the cache for the others
            self._failed(error, args[-1])

    def _failed(self, error: Exception, obj: Object) -> None:
        log.error("Handler failed", error, resource=self.resource.group_resource, object=key_of(obj))


def _owner_kind(obj: Object) -> str:
    reference = controller_of(obj)
    return str(reference["kind"]) if reference is not None else ""


class InformerFactory:
    """Shares informers: asking twice for the same gives the same. Informers asked for after `start` start at once.

    With `fresh` they begin with the newest state, not with any that the server has cached: for those who take over from another."""

    def __init__(self, client: Client, *, transform: Transform | None = drop_managed_fields, clock: Clock | None = None,
                 fresh: bool = False) -> None:
        self.client = client
        self._transform, self._fresh = transform, fresh
        self._clock = clock or SystemClock()
        self._informers: dict[tuple[Resource, str | None, str, str], Informer] = {}
        self._tasks: Tasks | None = None

    def informer(self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = "",
                 transform: Transform | None = None, paged: bool = False, optional: bool = False) -> Informer:
        """`transform`, `paged` (the first list comes in pages: slower, but small) and `optional` (taken as empty also where the server
        does not let it be read) count only for the first who asks."""
        key = (resource, namespace, field_selector, label_selector)
        found = self._informers.get(key)
        if found is None:
            found = Informer(self.client, resource, namespace, field_selector=field_selector, label_selector=label_selector,
                             transform=transform or self._transform, clock=self._clock, paged=paged, fresh=self._fresh,
                             optional=optional)
            self._informers[key] = found
            if self._tasks is not None:
                self._tasks.keep(found.run, f"informer/{resource.group_resource}")
        return found

    def known(self, resource: Resource) -> Informer | None:
        """The informer of all objects of a resource, if somebody has asked for it."""
        return self._informers.get((resource, None, "", ""))

    def start(self, tasks: Tasks) -> None:
        self._tasks = tasks
        for informer in self._informers.values():
            tasks.keep(informer.run, f"informer/{informer.resource.group_resource}")

    async def wait_synced(self) -> None:
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    def synced(self) -> bool:
        return all(informer.synced() for informer in self._informers.values())
