"""Follows the definitions and makes them real: names and conditions, the table of kinds, and what deletion takes along.

Every process follows them for itself, so each serves what it has seen; conditions are written by whoever is first (the change is
computed from the current object, so the others find nothing to do). Changes are taken in batches: many definitions at once rebuild
the table of kinds once.
Source: `pkg/controller/{status,establish,finalizer,apiapproval}` and the handler in `pkg/apiserver`.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from kubepy.api.errors import ApiError, Expired, Gone, NotFound
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.build import Stores
from kubepy.apiserver.crd.convert import Converter
from kubepy.apiserver.crd.finalizer import Finalizers
from kubepy.apiserver.crd.kind import Compiled, CustomKind, make_kind, schema_of, stored_resource
from kubepy.apiserver.crd.naming import Taken, is_established, is_true, plan_status
from kubepy.apiserver.crd.selectable import selectable_of
from kubepy.apiserver.crd.status import manage_status
from kubepy.apiserver.crd.version import preference
from kubepy.apiserver.crd.view import View
from kubepy.apiserver.crd.webhook import webhook_of
from kubepy.apiserver.registry.apiextensions.customresourcedefinition import RESOURCE
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore
from kubepy.apiserver.webhook import Caller
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger

log = get_logger("crd")
ViewMaker = Callable[[Kind], ResourceStore]


@dataclass(slots=True)
class Served:
    """What is served of one definition."""

    spec: Object
    names: Object
    terminating: bool
    revision: int
    compiled: dict[str, Compiled] = field(default_factory=dict)
    kinds: tuple[CustomKind, ...] = ()
    stored: Resource | None = None


class Controller:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._store = server.services.store(RESOURCE)
        self._crds: dict[str, Object] = {}
        self._served: dict[str, Served] = {}
        self._caller = Caller(server.services)
        server.stopping.append(self._caller.close)
        self._finalizers = Finalizers(server, self._definition)

    def _definition(self, name: str) -> Object | None:
        return self._crds.get(name)

    async def start(self) -> None:
        """Serves what is there, then follows. Ready when this returns."""
        revision = await self._read()
        self._server.tasks.keep(lambda: self._follow(revision), "definitions", maximum=5.0)

    async def _read(self) -> int:
        page = await self._store.list(None)
        found = {entry.name: entry for entry in page.entries}
        gone = [name for name in self._crds if name not in found]
        await self._take(list(found.values()), gone)
        return page.revision

    async def _follow(self, revision: int) -> None:
        while True:
            try:
                watcher = await self._store.watch(None, None, after=revision)
                try:
                    while True:
                        events = await watcher.next(30.0)
                        if events:
                            revision = events[-1].revision
                            await self._events(events)
                finally:
                    watcher.close()
            except (Expired, Gone):
                revision = await self._read()

    async def _events(self, events: list[Event]) -> None:
        latest = {event.entry.name: event for event in events}
        changed = [event.entry for event in latest.values() if event.type != "DELETED"]
        await self._take(changed, [name for name, event in latest.items() if event.type == "DELETED"])

    async def _take(self, changed: list[Entry], gone: list[str]) -> None:
        """Brings the table in line with the definitions, then sees to their conditions."""
        groups: set[str] = set()
        moved = False
        for name in gone:
            old = self._crds.pop(name, None)
            if old is not None:
                groups.add(old["spec"]["group"])
            moved |= await self._drop(name)
        for entry in changed:
            crd = entry.decode()
            if not _is_sound(crd):
                log.info("A stored definition is malformed and is not served", definition=entry.name)
                continue
            self._crds[entry.name] = crd
            groups.add(crd["spec"]["group"])
            moved |= await self._serve(crd, entry.revision)
        if moved:
            kinds = [kind for served in self._served.values() for kind in served.kinds]
            kinds.sort(key=lambda kind: (kind.resource.group, preference(kind.resource.version), kind.resource.plural))
            self._server.kinds.set_custom(kinds)
        if groups:
            await self._conditions(groups, {entry.name for entry in changed})
        for entry in changed:
            if (found := self._crds.get(entry.name)) is not None and found["metadata"].get("deletionTimestamp"):
                self._finalizers.start(entry.name)

    async def _drop(self, name: str) -> bool:
        served = self._served.pop(name, None)
        if served is None:
            return False
        if served.stored is not None:
            await self._close(served.stored)
        return True

    async def _close(self, resource: Resource) -> None:
        """Watchers of the store end."""
        cast(Stores, self._server.services.stores).forget(resource)
        if self._server.backend is not None:
            await self._server.backend.drop(resource)

    async def _serve(self, crd: Object, revision: int) -> bool:
        """Makes the kinds of a definition anew where what is served of it changed; tells whether it did."""
        name = crd["metadata"]["name"]
        if not is_established(crd):
            return await self._drop(name)
        old = self._served.get(name)
        names, terminating = crd["status"]["acceptedNames"], is_true(crd, "Terminating")
        if old is not None and old.spec == crd["spec"] and old.names == names and old.terminating == terminating:
            return False
        since = revision if old is None or _schemas(old.spec) != _schemas(crd["spec"]) else old.revision
        served = Served(crd["spec"], names, terminating, since)
        served.stored = stored_resource(crd)
        for version in crd["spec"]["versions"]:
            schema = schema_of(version)
            kept = old.compiled.get(version["name"]) if old is not None else None
            api_version = f"{crd['spec']['group']}/{version['name']}"
            served.compiled[api_version] = kept if kept is not None and kept.schema == schema else Compiled(schema)
        if old is not None and old.stored is not None and (old.stored != served.stored or _fields(old.spec) != _fields(crd["spec"])):
            await self._close(old.stored)
        converter = webhook_of(self._caller, crd)
        served.kinds = tuple(make_kind(crd, version, served.compiled[f"{crd['spec']['group']}/{version['name']}"], terminating,
                                       self._viewer(crd, served, converter))
                             for version in crd["spec"]["versions"] if version.get("served"))
        self._served[name] = served
        return True

    def _viewer(self, crd: Object, served: Served, converter: Converter | None) -> ViewMaker:
        stored = served.stored
        assert stored is not None
        selectable = selectable_of(field for version in crd["spec"]["versions"] for field in version.get("selectableFields") or ())

        def open_store() -> ResourceStore:
            return cast(Stores, self._server.services.stores).custom(stored, selectable)

        def view(kind: Kind) -> ResourceStore:
            resource = kind.resource
            return View(open_store, resource.api_version, resource.kind, stored.api_version, served.compiled, served.revision, converter,
                        kind.selectable)

        return view

    async def _conditions(self, groups: set[str], changed: set[str]) -> None:
        """Judges what changed, and what waits for names of its group."""
        members: dict[str, list[Object]] = {}
        for crd in self._crds.values():
            if (group := crd["spec"]["group"]) in groups:
                members.setdefault(group, []).append(crd)
        for found in members.values():
            taken = Taken(found)
            for crd in found:
                asked = crd["metadata"]["name"] in changed or not is_true(crd, "NamesAccepted")
                if asked and self._planned(crd, taken) is not None:
                    await self._write(crd["metadata"]["name"])

    def _planned(self, crd: Object, taken: Taken | None = None) -> Object | None:
        """The status to write, or None when it is as it should be. `taken` are the group's names, where they are at hand."""
        if taken is None:
            taken = Taken(other for other in self._crds.values() if other["spec"]["group"] == crd["spec"]["group"])
        wanted = plan_status(crd, taken, format_time(self._server.clock.now()))
        return None if wanted == (crd.get("status") or {}) else wanted

    async def _write(self, name: str) -> None:
        server = self._server

        async def change(entry: Entry) -> Object:
            crd = entry.decode()
            wanted = self._planned(crd)
            return crd if wanted is None else manage_status(server, crd, wanted)

        try:
            await self._store.update("", name, change)
        except NotFound:
            return
        except ApiError as error:
            log.error("Cannot write the status of a definition", error, definition=name)


def _is_sound(crd: Object) -> bool:
    """Whether a stored definition has what validation demands; what was put into etcd by other means may not."""
    spec = crd.get("spec") or {}
    names, versions = spec.get("names") or {}, spec.get("versions") or []
    return bool(spec.get("group") and spec.get("scope") and names.get("plural") and names.get("kind")
                and versions and all(version.get("name") for version in versions))


def _schemas(spec: Object) -> list[Object]:
    return [{key: version.get(key) for key in ("name", "schema", "storage")} for version in spec["versions"]]


def _fields(spec: Object) -> list[Object]:
    return sorted({field["jsonPath"] for version in spec["versions"] for field in version.get("selectableFields") or ()})
