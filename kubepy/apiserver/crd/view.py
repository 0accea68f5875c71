"""Stored objects as one version of a custom resource shows them, behind the interface verbs know: a `ResourceStore`.

Objects that were written in the version shown, under its current schema, pass as they are; nothing is decoded. Others are pruned,
filled and converted on reading, as upstream's storage codec does (`pkg/apiserver/customresource_handler.go`), once for each revision.
Fields are selected as the version shows them, labels too where a version has such fields; else labels are selected before a webhook
converts (known difference).
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from kubepy.api.codec import stored as encode
from kubepy.api.types import Object
from kubepy.apiserver.crd.convert import Converter
from kubepy.apiserver.crd.decode import coerce_stored
from kubepy.apiserver.crd.kind import Compiled
from kubepy.apiserver.storage import entry as stored
from kubepy.apiserver.storage.interface import Change, Entry, Event, Matcher, Page, ResourceStore, Watcher
from kubepy.apiserver.storage.page import ListPage

MAX_SEEN = 20_000
"""How many converted objects a view remembers."""


class View:
    def __init__(self, open_store: Callable[[], ResourceStore], api_version: str, kind: str, storage: str,
                 versions: Mapping[str, Compiled], since: int, converter: Converter | None,
                 selectable: Mapping[str, Callable[[Object], str]]) -> None:
        """`storage` and the keys of `versions` are apiVersions; what was written after `since` is in normal form. `selectable` are the
        fields by which this version's objects are selected.

        Without a converter only the apiVersion changes."""
        self._open = open_store
        self._storage = storage
        self._api_version = api_version
        self._versions = versions
        self._since = since
        self._converter = converter
        self._selectable = selectable
        self._head = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{'.encode()
        self._seen: OrderedDict[tuple[str, str, int], Entry] = OrderedDict()
        self._events: OrderedDict[tuple[str, str, int], Event] = OrderedDict()

    @property
    def _store(self) -> ResourceStore:
        return self._open()

    # Showing

    def _plain(self, entry: Entry) -> bool:
        return entry.revision > self._since and entry.raw.startswith(self._head)

    def _remembered(self, entry: Entry) -> Entry | None:
        return self._seen.get((entry.namespace, entry.name, entry.revision))

    def _remember(self, entry: Entry, shown: Entry) -> Entry:
        self._seen[entry.namespace, entry.name, entry.revision] = shown
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return shown

    async def _see(self, entry: Entry) -> Entry:
        if self._plain(entry):
            return entry
        found = self._remembered(entry)
        if found is not None:
            return found
        return (await self._see_all([entry]))[0]

    async def _see_all(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries as they are shown; the same sequence when nothing has to change."""
        since, head = self._since, self._head
        if all(entry.revision > since and entry.raw.startswith(head) for entry in entries):
            return entries
        shown: list[Entry] = []
        waiting: list[tuple[int, Entry, Object]] = []
        for entry in entries:
            if self._plain(entry):
                shown.append(entry)
                continue
            found = self._remembered(entry)
            if found is None:
                obj = self._normal(entry)
                if self._converter is None or obj["apiVersion"] == self._api_version:
                    found = self._remember(entry, self._with(entry, {**obj, "apiVersion": self._api_version}))
                else:
                    waiting.append((len(shown), entry, obj))
                    found = entry
            shown.append(found)
        if waiting:
            assert self._converter is not None
            converted = await self._converter.convert([obj for _, _, obj in waiting], self._api_version)
            for (position, entry, _), obj in zip(waiting, converted, strict=True):
                shown[position] = self._remember(entry, self._with(entry, obj))
        return shown

    def _with(self, entry: Entry, obj: Object) -> Entry:
        """The entry with another state, and with this version's fields for selectors to see."""
        found = cast(stored.Entry, entry)
        labels = obj["metadata"].get("labels") or {}
        fields = {**found.fields, **{name: get(obj) for name, get in self._selectable.items()}}
        made = stored.Entry(found.namespace, found.name, found.uid, found.revision, labels, fields, encode(obj), found.stale)
        return cast(Entry, made)

    def _normal(self, entry: Entry) -> Object:
        obj = entry.decode()
        compiled = self._versions.get(obj.get("apiVersion") or "")
        if compiled is not None and entry.revision <= self._since:
            coerce_stored(obj, compiled.node)
        return obj

    @property
    def versions(self) -> Mapping[str, Compiled]:
        """All versions, by apiVersion."""
        return self._versions

    async def converted(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """Objects of the view's version in another one; raises ApiError."""
        if self._converter is None:
            return [{**obj, "apiVersion": api_version} for obj in objects]
        return await self._converter.convert(objects, api_version)

    async def _to_stored(self, obj: Object) -> Object:
        if obj["apiVersion"] == self._storage:
            return obj
        if self._converter is None:
            return {**obj, "apiVersion": self._storage}
        converted: Object = (await self._converter.convert([obj], self._storage))[0]
        return converted

    # ResourceStore

    async def get(self, namespace: str, name: str, *, resource_version: str | None = None) -> Entry:
        return await self._see(await self._store.get(namespace, name, resource_version=resource_version))

    def cached(self, namespace: str, name: str) -> Entry | None:
        entry = self._store.cached(namespace, name)
        if entry is None or self._plain(entry):
            return entry
        return self._remembered(entry) or entry

    async def list(self, namespace: str | None, *, match: Matcher | None = None, resource_version: str | None = None,
                   resource_version_match: str | None = None, limit: int = 0, continue_token: str = "",
                   labels: Callable[[Mapping[str, str]], bool] | None = None) -> Page:
        late = match if self._converter is not None and self._selectable else None
        page = await self._store.list(namespace, match=None if late is not None else match, resource_version=resource_version,
                                      resource_version_match=resource_version_match, limit=limit, continue_token=continue_token,
                                      labels=labels)
        entries = await self._see_all(page.entries)
        if late is not None:
            kept = cast("list[stored.Entry]", [entry for entry in entries if late(entry)])
            return cast(Page, replace(cast(ListPage, page), entries=kept, remaining=None))
        return page if entries is page.entries else cast(Page, replace(cast(ListPage, page), entries=cast("list[stored.Entry]", entries)))

    async def create(self, namespace: str, name: str, obj: Object, *, ttl: int | None = None) -> Entry:
        return await self._see(await self._store.create(namespace, name, await self._to_stored(obj), ttl=ttl))

    async def update(self, namespace: str, name: str, change: Change, *, ttl: int | None = None) -> tuple[Entry, bool]:
        async def converted(entry: Entry) -> Object:
            return await self._to_stored(await change(await self._see(entry)))

        entry, written = await self._store.update(namespace, name, converted, ttl=ttl)
        return await self._see(entry), written

    async def delete(self, namespace: str, name: str, check: Callable[[Entry], None] | None = None) -> Entry:
        return await self._see(await self._store.delete(namespace, name, check))

    async def watch(self, namespace: str | None, name: str | None, *, after: int) -> Watcher:
        return ViewWatcher(self, await self._store.watch(namespace, name, after=after))

    async def ready(self) -> None:
        await self._store.ready()

    # Watching

    async def events(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events as they are shown; ones that need no change, and ones made for another watcher, are shared."""
        if all(self._plain(event.entry) and (event.previous is None or self._plain(event.previous)) for event in events):
            return events
        wanted = [entry for event in events for entry in (event.entry, event.previous) if entry is not None]
        shown = iter(await self._see_all(wanted))
        return [self._event(event, next(shown), next(shown) if event.previous is not None else None) for event in events]

    def _event(self, event: Event, entry: Entry, previous: Entry | None) -> Event:
        if entry is event.entry and previous is event.previous:
            return event
        key = (entry.namespace, entry.name, event.revision)
        found = self._events.get(key)
        if found is None:
            made = stored.Event(event.type, event.revision, cast(stored.Entry, entry), cast("stored.Entry | None", previous))
            found = self._events[key] = cast(Event, made)
            if len(self._events) > 512:
                self._events.popitem(last=False)
        return found


class ViewWatcher:
    """A watcher whose events are shown in the view's version."""

    def __init__(self, view: View, inner: Watcher) -> None:
        self._view = view
        self._inner = inner

    async def next(self, timeout: float | None = None) -> list[Event]:
        return list(await self._view.events(await self._inner.next(timeout)))

    def bookmark(self) -> int:
        return self._inner.bookmark()

    def close(self) -> None:
        self._inner.close()
