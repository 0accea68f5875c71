"""Namespaces that are being deleted: empty them, then let them go (`pkg/controller/namespace`).

Pods go first, everything else after the last of them (upstream's ordered deletion). What is there is found by discovery, so
custom and aggregated resources are included; a group that does not answer keeps the namespace. Progress is told in conditions.
Differs: resources without objects get one list request and no delete request.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubepy.api.errors import ApiError, Conflict, MethodNotAllowed, NotFound
from kubepy.api.resource import NAMESPACES, PODS, Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.interface import Client
from kubepy.client.store import key_of
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.batch import at_once
from kubepy.controllers.kit.discovery import Discovered, discover, supporting
from kubepy.controllers.kit.environment import Environment

log = get_logger("namespace")

FINALIZER = "kubernetes"
GRACE = 2.0
"""Seconds between the deletion and the first look, so that every API server has seen that nothing may be created any more."""
ESTIMATE = 15
"""Seconds that something with finalizers may take."""
DISCOVERY_TTL = 30.0


@dataclass(slots=True)
class Progress:
    """What one pass found and could not do."""

    discovery: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    remaining: Counter[Resource] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    estimate: int = 0

    @property
    def finished(self) -> bool:
        return not (self.discovery or self.failures or self.remaining)

    def note(self, resource: Resource, items: Sequence[Object]) -> None:
        """Counts what is left of a resource."""
        if not items:
            return
        self.remaining[resource] += len(items)
        for item in items:
            metadata = item["metadata"]
            self.finalizers.update(metadata.get("finalizers") or ())
            grace = metadata.get("deletionGracePeriodSeconds") or 0
            self.estimate = max(self.estimate, grace if resource == PODS and grace else ESTIMATE)


def conditions(old: Sequence[Object], progress: Progress, now: str) -> list[Object]:
    """The namespace's conditions after a pass, in upstream's words. What never failed is not mentioned."""
    left = [f"{resource.plural}.{resource.group} has {count} resource instances" for resource, count in progress.remaining.items()]
    held = [f"{name} in {count} resource instances" for name, count in progress.finalizers.items()]
    found = (
        ("NamespaceDeletionDiscoveryFailure", bool(progress.discovery), "DiscoveryFailed", "ResourcesDiscovered",
         f"Discovery failed for some groups, {len(progress.discovery)} failing: {', '.join(progress.discovery)}",
         "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", False, "GroupVersionParsingFailed", "ParsedGroupVersions",
         "", "All legacy kube types successfully parsed"),
        ("NamespaceDeletionContentFailure", bool(progress.failures), "ContentDeletionFailed", "ContentDeleted",
         f"Failed to delete all resource types, {len(progress.failures)} remaining: {', '.join(progress.failures)}",
         "All content successfully deleted, may be waiting on finalization"),
        ("NamespaceContentRemaining", bool(left), "SomeResourcesRemain", "ContentRemoved",
         f"Some resources are remaining: {', '.join(sorted(left))}", "All content successfully removed"),
        ("NamespaceFinalizersRemaining", bool(held), "SomeFinalizersRemain", "ContentHasNoFinalizers",
         f"Some content in the namespace has finalizers remaining: {', '.join(sorted(held))}",
         "All content-preserving finalizers finished"),
    )
    result = list(old)
    for type, bad, reason, good_reason, message, good_message in found:
        new = condition.build(type, "True", reason, message, now) if bad else condition.build(type, "False", good_reason, good_message, now)
        result = condition.merge(result, new)
    return result


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("namespace-controller")
        self._clock = env.clock
        self._namespaces = env.informers.informer(NAMESPACES).lister
        self._discovery = CachedDiscovery(self._client, env.clock)

    async def reconcile(self, key: str) -> float | None:
        if self._namespaces.get(key) is None:
            return None
        try:
            namespace = await self._client.get(NAMESPACES, key)
        except NotFound:
            return None
        if namespace["metadata"].get("deletionTimestamp") is None:
            return None
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            status = {**(namespace.get("status") or {}), "phase": "Terminating"}
            namespace = await self._client.update(NAMESPACES, {**namespace, "status": status}, subresource="status")
        if not (namespace.get("spec") or {}).get("finalizers"):
            return None
        if FINALIZER in namespace["spec"]["finalizers"]:
            progress = await self._empty(key)
            if not progress.finished:
                await self._report(namespace, progress)
                return progress.estimate / 2 + 1 if progress.estimate else 5.0
            await self._finalize(namespace)
        return None

    async def _empty(self, name: str) -> Progress:
        progress = Progress()
        found = await self._discovery.get()
        progress.discovery = found.failed
        await self._delete_all(PODS, name, True, progress)
        if progress.remaining or progress.failures:
            return progress  # the rest waits for the pods: they may need it while they end
        collection = set(supporting(found, "list", "deletecollection"))
        resources = [item for item in supporting(found, "list", "delete") if item.namespaced and item != PODS]

        async def one(resource: Resource) -> None:
            await self._delete_all(resource, name, resource in collection, progress)

        for error in await at_once(resources, one):
            progress.failures.append(str(error))
        return progress

    async def _delete_all(self, resource: Resource, namespace: str, collection: bool, progress: Progress) -> None:
        try:
            items = (await self._client.list(resource, namespace))["items"]
            if not items:
                return
            if collection:
                await self._client.delete_collection(resource, namespace, propagation="Background")
            else:
                for item in items:
                    await self._delete_one(resource, item)
            progress.note(resource, (await self._client.list(resource, namespace))["items"])
        except (NotFound, MethodNotAllowed):  # the resource has gone, or cannot be emptied: nothing to wait for
            return
        except (ApiError, ConnectionError) as error:
            progress.failures.append(str(error))

    async def _delete_one(self, resource: Resource, item: Object) -> None:
        try:
            await self._client.delete(resource, item["metadata"]["name"], item["metadata"]["namespace"], propagation="Background")
        except (NotFound, Conflict):
            return

    async def _report(self, namespace: Object, progress: Progress) -> None:
        status = namespace.get("status") or {}
        new = conditions(status.get("conditions") or (), progress, format_time(self._clock.now()))
        if new != (status.get("conditions") or []):
            await self._client.update(NAMESPACES, {**namespace, "status": {**status, "conditions": new}}, subresource="status")

    async def _finalize(self, namespace: Object) -> None:
        left = [name for name in namespace["spec"]["finalizers"] if name != FINALIZER]
        try:
            await self._client.update(NAMESPACES, {**namespace, "spec": {**namespace["spec"], "finalizers": left}}, subresource="finalize")
        except NotFound:
            return
        log.v(2).info("Namespace emptied", namespace=namespace["metadata"]["name"])


class CachedDiscovery:
    """Discovery kept for half a minute: many namespaces may go at once."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._found: Discovered | None = None
        self._at = 0.0

    async def get(self) -> Discovered:
        now = self._clock.monotonic()
        if self._found is None or self._found.failed or now - self._at > DISCOVERY_TTL:
            self._found, self._at = await discover(self._client), now
        return self._found


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watch = Watch(NAMESPACES, keys=lambda obj: (key_of(obj),), delay=GRACE,
                  when=lambda old, new: new is not None and new["metadata"].get("deletionTimestamp") is not None)
    return Controller("namespace", reconciler.reconcile, (watch,), workers=env.options.concurrency("namespace", 10),
                      maximum_backoff=60.0)
