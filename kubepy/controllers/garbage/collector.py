"""Watching every resource there is (metadata only) and doing what the graph calls for.

An object is deleted when none of its owners exists any more; references to owners that have gone are removed when another
owner is left. Absence is believed only when the API server has said so. Known differences: an owner that the cache shows
counts as there (its end will be told); references that block each other in a circle are unblocked by deleting in the background.
"""
from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import EVENTS, EVENTS_V1, Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.base.task import Tasks
from kubepy.client.controller import Controller
from kubepy.client.informer import Informer
from kubepy.client.interface import Client, Propagation
from kubepy.client.queue import WorkQueue
from kubepy.controllers.garbage.graph import FOREGROUND, ORPHAN, Graph, Node
from kubepy.controllers.kit.batch import at_once
from kubepy.controllers.kit.discovery import Discovered, discover, supporting
from kubepy.controllers.kit.environment import Environment

SYNC_ERRORS = counter("garbagecollector_controller_resources_sync_error_total", "Number of garbage collector resources sync errors")
log = get_logger("garbagecollector")

RESYNC = 30.0
SYNC_TIMEOUT = 30.0
IGNORED = frozenset({EVENTS.group_resource, EVENTS_V1.group_resource})


class Owners(NamedTuple):
    solid: list[Object]
    dangling: list[Object]
    waiting: list[Object]


class Collector:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("generic-garbage-collector")
        self._metadata: Client = env.metadata_client or env.informers.client
        self._clock: Clock = env.clock
        self.graph = Graph()
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._shared = env.informers
        self._informers: dict[Resource, tuple[Informer, asyncio.Task[None] | None]] = {}
        self._synced = False

    async def watch_all(self, queue: WorkQueue[str]) -> None:
        """Follows discovery for ever: resources that appear are watched, those that vanish are forgotten."""
        tasks = Tasks("garbage", self._clock)
        try:
            while True:
                try:
                    self._follow(await discover(self._metadata), queue, tasks)
                except (ApiError, ConnectionError) as error:
                    SYNC_ERRORS.inc()
                    log.warning("Cannot discover resources", err=error)
                    await self._clock.sleep(1.0 if not self._informers else RESYNC)
                    continue
                if not self._synced:
                    await self._wait_synced()
                    self._synced = True
                    for uid in self.graph.unsettled():
                        queue.add(uid)
                await self._clock.sleep(RESYNC)
        finally:
            await tasks.stop()

    def _follow(self, found: Discovered, queue: WorkQueue[str], tasks: Tasks) -> None:
        resources = {item for item in supporting(found, "list", "watch", "delete") if item.group_resource not in IGNORED}
        self._kinds |= {(item.resource.api_version, item.resource.kind): item.resource for item in found.served}
        for resource in resources - self._informers.keys():
            shared = self._shared.known(resource)  # what other controllers watch anyway is not watched twice
            informer = shared or Informer(self._metadata, resource, transform=_essence, clock=self._clock)
            self._listen(informer, resource, queue)
            task = tasks.keep(informer.run, f"metadata/{resource.group_resource}") if shared is None else None
            self._informers[resource] = informer, task
        for resource in self._informers.keys() - resources:
            if (f"{resource.group}/{resource.version}" if resource.group else resource.version) in found.failed:
                continue  # its server does not answer just now
            task = self._informers[resource][1]
            if task is None:
                continue  # others watch it too: it is not one that goes
            del self._informers[resource]
            task.cancel()
            for uid in self.graph.of(resource):
                self._queue(queue, self.graph.remove(uid))

    async def _wait_synced(self) -> None:
        waited = 0.0
        while waited < SYNC_TIMEOUT:
            missing = [resource.group_resource for resource, (informer, _) in self._informers.items() if not informer.synced()]
            if not missing:
                return
            await self._clock.sleep(0.1)
            waited += 0.1
        log.warning("Starting without some resources", missing=",".join(missing))

    def _listen(self, informer: Informer, resource: Resource, queue: WorkQueue[str]) -> None:
        put = self.graph.put

        def seen(obj: Object) -> None:
            if uids := put(resource, obj):
                self._queue(queue, uids)

        def changed(old: Object, new: Object) -> None:
            seen(new)

        informer.add_handler(seen, changed, lambda obj: self._queue(queue, self.graph.remove(obj["metadata"]["uid"])))

    def _queue(self, queue: WorkQueue[str], uids: AbstractSet[str]) -> None:
        if self._synced:
            for uid in uids:
                queue.add(uid)

    async def reconcile(self, uid: str) -> float | None:
        node = self.graph.nodes.get(uid)
        if node is None:
            return None
        if node.orphans_dependents:
            await self._orphan(node)
            return None
        if node.deletes_dependents:
            await self._delete_dependents_first(node)
            return None
        if node.deleting or not node.owners:
            return None
        live = await self._live(node)
        references = (live or {}).get("metadata", {}).get("ownerReferences") or []
        if live is None or not references:
            return None
        owners = await self._classify(node, references)
        if owners.solid:
            if owners.dangling or owners.waiting:
                gone = {ref["uid"] for ref in (*owners.dangling, *owners.waiting)}
                await self._set_references(node, live, [ref for ref in references if ref["uid"] not in gone])
            return None
        await self._delete(node, live, self._policy(node, live, bool(owners.waiting)))
        return None

    def _policy(self, node: Node, live: Object, owner_waits: bool) -> Propagation:
        dependents = self.graph.dependents(node.uid)
        if owner_waits and dependents and not any(item.deletes_dependents for item in dependents):
            return "Foreground"
        finalizers = live["metadata"].get("finalizers") or ()
        return "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"

    async def _classify(self, node: Node, references: list[Object]) -> Owners:
        found = Owners([], [], [])
        for ref in references:
            owner = self.graph.nodes.get(ref["uid"])
            if owner is not None and (owner.namespace in ("", node.namespace)) and owner.name == ref["name"]:
                (found.waiting if owner.deletes_dependents else found.solid).append(ref)
                continue
            state = await self._look_up(node, ref)
            (found.dangling if state is None else found.waiting if state else found.solid).append(ref)
        return found

    async def _look_up(self, node: Node, ref: Object) -> bool | None:
        """None: the owner does not exist; else whether it waits for its dependents. Raises when that cannot be told."""
        resource = self._kinds.get((ref["apiVersion"], ref["kind"]))
        if resource is None:
            resource = next((item for (version, kind), item in self._kinds.items()
                             if kind == ref["kind"] and item.group == _group(ref["apiVersion"])), None)
        if resource is None:
            raise ConnectionError(f"no resource is known for owner {ref['apiVersion']} {ref['kind']} of {node.resource.plural} {node.name}")
        if resource.namespaced and not node.namespace:
            return False  # a cluster-scoped object cannot have a namespaced owner: left alone, as upstream does
        try:
            owner = await self._metadata.get(resource, ref["name"], node.namespace if resource.namespaced else None)
        except NotFound:
            return None
        metadata = owner["metadata"]
        if metadata["uid"] != ref["uid"]:
            return None
        return metadata.get("deletionTimestamp") is not None and FOREGROUND in (metadata.get("finalizers") or ())

    async def _delete_dependents_first(self, node: Node) -> None:
        blocking = self.graph.blocking(node.uid)
        if blocking:
            for dependent in blocking:
                if not dependent.deleting:
                    await self.reconcile(dependent.uid)
            return
        live = await self._live(node)
        if live is not None:
            await self._remove_finalizer(node, live, FOREGROUND)

    async def _orphan(self, node: Node) -> None:
        async def release(dependent: Node) -> None:
            live = await self._live(dependent)
            if live is not None:
                kept = [ref for ref in live["metadata"].get("ownerReferences") or () if ref["uid"] != node.uid]
                await self._set_references(dependent, live, kept)

        errors = await at_once(self.graph.dependents(node.uid), release)
        if errors:
            raise errors[0]
        live = await self._live(node)
        if live is not None:
            await self._remove_finalizer(node, live, ORPHAN)

    async def _live(self, node: Node) -> Object | None:
        """The object as it is now; None when it has gone or been replaced."""
        try:
            live = await self._metadata.get(node.resource, node.name, node.namespace or None)
        except NotFound:
            return None
        return live if live["metadata"]["uid"] == node.uid else None

    async def _delete(self, node: Node, live: Object, policy: Propagation) -> None:
        try:
            await self._client.delete(node.resource, node.name, node.namespace or None, propagation=policy, uid=node.uid,
                                      resource_version=live["metadata"]["resourceVersion"])
        except NotFound:
            return
        log.v(2).info("Deleted", resource=node.resource.group_resource, namespace=node.namespace, name=node.name, propagation=policy)

    async def _set_references(self, node: Node, live: Object, references: list[Object]) -> None:
        await self._patch(node, live, {"ownerReferences": references or None})

    async def _remove_finalizer(self, node: Node, live: Object, finalizer: str) -> None:
        finalizers = live["metadata"].get("finalizers") or []
        if finalizer in finalizers:
            await self._patch(node, live, {"finalizers": [item for item in finalizers if item != finalizer] or None})

    async def _patch(self, node: Node, live: Object, change: Object) -> None:
        metadata = {"uid": node.uid, "resourceVersion": live["metadata"]["resourceVersion"], **change}
        try:
            await self._client.patch(node.resource, node.name, {"metadata": metadata}, node.namespace or None)
        except NotFound:
            return


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _essence(obj: Object) -> Object:
    """All that the graph needs of an object."""
    metadata = obj["metadata"]
    keep = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")
    return {"metadata": {key: metadata[key] for key in keep if key in metadata}}


def controller(env: Environment) -> Controller:
    collector = Collector(env)
    return Controller("garbage_collector_attempt_to_delete", collector.reconcile, (), workers=env.options.concurrency("gc", 20),
                      start=collector.watch_all, maximum_backoff=60.0)
