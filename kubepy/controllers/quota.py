"""ResourceQuota status (`pkg/controller/resourcequota`): what a namespace uses is counted again when something has gone.

Admission charges what is added; here charges are given back, and everything is counted anew from time to time. Pods, services and
claims come from the shared caches, quotas too; other kinds named by `count/…` are watched (metadata only) once a quota asks for them.
Each cache is fed by a watch of its own, so that a quota can be seen before the objects that were there before it: its first count is
looked over once more.
"""
from __future__ import annotations

from collections.abc import Mapping

from kubepy.api.pod import is_terminal
from kubepy.api.quantity import Quantity, quantity
from kubepy.api.quota import Usage, covers, matches_scopes, usage
from kubepy.api.resource import (
    CONFIGMAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.informer import Informer
from kubepy.client.queue import WorkQueue
from kubepy.client.store import Store, key_of, split_key
from kubepy.controllers.kit.discovery import discover, supporting
from kubepy.controllers.kit.environment import Environment

log = get_logger("resourcequota")

FULL = (PODS, SERVICES, PERSISTENT_VOLUME_CLAIMS, RESOURCE_QUOTAS)
_PLAIN = {item.plural: item for item in (CONFIGMAPS, SECRETS, REPLICATION_CONTROLLERS)}
SYNC_TIMEOUT = 10.0
SECOND_LOOK = 3.0


def count(spec: Object, caches: Mapping[Resource, Store], namespace: str) -> dict[str, str]:
    """What the objects in the caches use of the quota's resources."""
    hard = spec.get("hard") or {}
    used: Usage = {name: Quantity.of(0) for name in hard}
    for resource, cache in caches.items():
        names = covers(resource, hard)
        if not names:
            continue
        for obj in cache.list(namespace):
            if matches_scopes(spec, resource, obj):
                for name, value in usage(resource, obj).items():
                    if name in used:
                        used[name] = used[name] + value
    return {name: str(value) for name, value in used.items()}


def same_amounts(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return one.keys() == other.keys() and all(quantity(one[name]) == quantity(other[name]) for name in one)


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._env, self._clock = env, env.clock
        self._client = env.client_for("resourcequota-controller")
        self._quotas = env.informers.informer(RESOURCE_QUOTAS).lister
        self._caches: dict[Resource, Store] = {resource: env.informers.informer(resource).lister for resource in FULL}
        self._queue: WorkQueue[str] | None = None
        self._unknown: set[str] = set()

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        obj = self._quotas.get(name, namespace)
        if obj is None:
            return None
        spec, status = obj["spec"], obj.get("status") or {}
        await self._watch_counted(spec)
        hard, used = spec.get("hard") or {}, count(spec, self._caches, namespace)
        new = not same_amounts(status.get("hard") or {}, hard)
        if new or not same_amounts(status.get("used") or {}, used):
            await self._client.update(RESOURCE_QUOTAS, {**obj, "status": {"hard": hard, "used": used}}, subresource="status")
        return SECOND_LOOK if new else None

    async def run(self, queue: WorkQueue[str]) -> None:
        """Counts everything anew from time to time."""
        self._queue = queue
        while True:
            await self._clock.sleep(self._env.options.resource_quota_sync_period)
            self._unknown.clear()
            for obj in self._quotas.list():
                queue.add(key_of(obj))

    def quotas_in(self, obj: Object) -> list[str]:
        return [key_of(item) for item in self._quotas.list(obj["metadata"]["namespace"])]

    async def _watch_counted(self, spec: Object) -> None:
        """Starts watching the kinds that the quota counts and that nobody has watched yet."""
        for name in spec.get("hard") or {}:
            counted = name.removeprefix("count/")
            resource = _PLAIN.get(counted)
            known = {item.group_resource for item in self._caches}
            if counted in known or counted in self._unknown or (resource is None and not name.startswith("count/")):
                continue
            if resource is None:
                found = supporting(await discover(self._client), "list", "watch", "create")
                resource = next((item for item in found if item.namespaced and item.group_resource == counted), None)
            if resource is None:
                self._unknown.add(counted)  # perhaps its definition comes later: asked again at the next full count
                continue
            await self._start(resource)

    async def _start(self, resource: Resource) -> None:
        informer = Informer(self._env.metadata_client or self._env.informers.client, resource, transform=_essence, clock=self._clock)
        self._env.tasks.keep(informer.run, f"quota/{resource.group_resource}")
        self._caches[resource] = informer.lister
        waited = 0.0
        while not informer.synced():
            if waited > SYNC_TIMEOUT:
                raise ConnectionError(f"{resource.group_resource} cannot be counted yet")
            await self._clock.sleep(0.05)
            waited += 0.05
        informer.add_handler(on_delete=self._gone)

    def _gone(self, obj: Object) -> None:
        if self._queue is not None:
            for key in self.quotas_in(obj):
                self._queue.add(key)


def _essence(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {"metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata}}


def _freed(old: Object | None, new: Object | None) -> bool:
    """Something is used less: an object has gone, a pod has ended."""
    return new is None or (old is not None and is_terminal(new) and not is_terminal(old))


def _changed(old: Object | None, new: Object | None) -> bool:
    return new is None or (old is not None and old.get("spec") != new.get("spec"))


def _hard_changed(old: Object | None, new: Object | None) -> bool:
    return old is None or new is None or old.get("spec") != new.get("spec")


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(RESOURCE_QUOTAS, keys=reconciler.quotas_in, when=_hard_changed),
        Watch(PODS, keys=reconciler.quotas_in, when=_freed),
        Watch(SERVICES, keys=reconciler.quotas_in, when=_changed),
        Watch(PERSISTENT_VOLUME_CLAIMS, keys=reconciler.quotas_in, when=_changed),
    )
    return Controller("resourcequota_primary", reconciler.reconcile, watches, workers=env.options.concurrency("resource-quota", 5),
                      start=reconciler.run)
