"""Takes the instances of a deleted definition along (`pkg/controller/finalizer/crd_finalizer.go`)."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.meta import set_condition
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.crd.naming import is_established
from kubepy.apiserver.crd.status import manage_status
from kubepy.apiserver.ensure import context_for
from kubepy.apiserver.registry.apiextensions.customresourcedefinition import CLEANUP, RESOURCE
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs.delete import delete_object
from kubepy.base.backoff import Backoff
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger

log = get_logger("crd")
POLL_SECONDS = 0.5


class Finalizers:
    """One task for each definition that is going away."""

    def __init__(self, server: Server, definition: Callable[[str], Object | None]) -> None:
        self._server = server
        self._definition = definition
        self._running: set[str] = set()

    def start(self, name: str) -> None:
        if name not in self._running and self._wanted(name):
            self._running.add(name)
            self._server.tasks.start(self._run(name), f"clean up {name}")

    def _wanted(self, name: str) -> bool:
        crd = self._definition(name)
        return crd is not None and CLEANUP in (crd["metadata"].get("finalizers") or ())

    async def _run(self, name: str) -> None:
        backoff = Backoff(0.2, 10.0)
        try:
            while self._wanted(name):
                try:
                    if await self._clean(name):
                        return
                    await asyncio.sleep(POLL_SECONDS)
                except NotFound:
                    return
                except KeyError:  # another process has finished meanwhile and the kind is gone; seen by the next look
                    await asyncio.sleep(POLL_SECONDS)
                except ApiError as error:
                    delay = backoff.next()
                    log.error("Cannot remove the instances of a definition yet", error, definition=name, delay=delay)
                    await self._condition(name, "True", "InstanceDeletionFailed", f"could not list instances: {error.message}")
                    await asyncio.sleep(delay)
        finally:
            self._running.discard(name)

    async def _clean(self, name: str) -> bool:
        """Deletes what there is; true when nothing is left and the finalizer is gone."""
        crd = self._definition(name)
        if crd is None:
            return True
        kind = self._kind(crd)
        if kind is not None:
            store = self._server.store(kind)
            page = await store.list(None)
            if page.entries:
                await self._condition(name, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
                await self._delete(kind, [entry for entry in page.entries])
                if (await store.list(None)).entries:
                    return False
        await self._release(name)
        return True

    def _kind(self, crd: Object) -> Kind | None:
        if not is_established(crd):
            return None
        spec, plural = crd["spec"], crd["status"]["acceptedNames"]["plural"]
        found = (self._server.kinds.find(spec["group"], version["name"], plural) for version in spec["versions"])
        return next((kind for kind in found if kind is not None), None)

    async def _delete(self, kind: Kind, entries: list[Entry]) -> None:
        for entry in entries:
            resource: Resource = kind.resource
            context = context_for(self._server, resource, "delete", entry.namespace, entry.name)
            try:
                await delete_object(self._server, context, entry.name, {}, admit=False)
            except (NotFound, Conflict):
                continue

    async def _condition(self, name: str, status: str, reason: str, message: str) -> None:
        async def change(entry: Entry) -> Object:
            crd = entry.decode()
            return manage_status(self._server, crd, self._terminating(crd, status, reason, message))

        await self._server.services.store(RESOURCE).update("", name, change)

    def _terminating(self, crd: Object, status: str, reason: str, message: str) -> Object:
        """The definition's status with this condition."""
        condition = {"type": "Terminating", "status": status, "reason": reason, "message": message}
        held = crd.get("status") or {}
        return {**held, "conditions": set_condition(held.get("conditions") or [], condition, format_time(self._server.clock.now()))}

    async def _release(self, name: str) -> None:
        """Removes the finalizer, and the definition with the last one."""
        store = self._server.services.store(RESOURCE)

        async def change(entry: Entry) -> Object:
            crd = entry.decode()
            left = [item for item in crd["metadata"].get("finalizers") or () if item != CLEANUP]
            if not left:
                raise _Last(entry.revision)
            status = self._terminating(crd, "False", "InstanceDeletionCompleted", "removed all instances")
            owned = manage_status(self._server, crd, status)
            owned["metadata"]["finalizers"] = left
            return owned

        while True:
            try:
                await store.update("", name, change)
                return
            except _Last as last:
                seen = last.revision

            def unchanged(entry: Entry, seen: int = seen) -> None:
                if entry.revision != seen:
                    raise _Changed

            try:
                await store.delete("", name, unchanged)
                return
            except _Changed:
                continue
            except NotFound:
                return


class _Last(Exception):
    """The finalizer is the last one: the definition goes."""

    def __init__(self, revision: int) -> None:
        super().__init__()
        self.revision = revision


class _Changed(Exception):
    """Somebody wrote in between."""

