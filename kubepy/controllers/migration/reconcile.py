"""StorageVersionMigrations (`pkg/controller/storageversionmigrator`): one of a resource at a time, the oldest first, from Running to
Succeeded or Failed.

A custom resource's definition says meanwhile that it is being migrated (`StorageMigrating`), and afterwards that nothing is stored in
other versions any more (`status.storedVersions`), unless its specification has changed on the way. Known differences: objects are read
from the API server in pages instead of from the garbage collector's cache; a migration that another leader has begun is begun again.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import STORAGE_VERSION_MIGRATIONS, Resource
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.migration.objects import MANAGER, Unmigratable, migrate, newest_version, passes, resource_of

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
RUNNING, SUCCEEDED, FAILED = "Running", "Succeeded", "Failed"
REASONS = {RUNNING: "StorageVersionMigrationInProgress", SUCCEEDED: "StorageVersionMigrationSucceeded",
           FAILED: "StorageVersionMigrationFailed"}
DISCOVERY_SECONDS = 60.0
"""A resource that has just been defined may take that long to be served."""
log = get_logger("storage-version-migrator")


def conditions(obj: Object) -> Sequence[Object]:
    found: Sequence[Object] = (obj.get("status") or {}).get("conditions") or []
    return found


def holds(obj: Object, kind: str) -> bool:
    return any(item["type"] == kind and item["status"] == "True" for item in conditions(obj))


def is_over(obj: Object) -> bool:
    return holds(obj, SUCCEEDED) or holds(obj, FAILED)


def about(obj: Object) -> tuple[str, str]:
    wanted = (obj.get("spec") or {}).get("resource") or {}
    return wanted.get("group", ""), wanted.get("resource", "")


def turn_of(migrations: Iterable[Object], resource: tuple[str, str]) -> str:
    """The migration whose turn it is: the one that runs, else the oldest that is not over; "" for none."""
    waiting = [item for item in migrations if about(item) == resource and not is_over(item)]
    running = [item for item in waiting if holds(item, RUNNING)]
    order = sorted(running or waiting, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))
    return str(order[0]["metadata"]["name"]) if order else ""


def with_condition(status: Object, kind: str, message: str, now: str) -> Object:
    """What ends a migration ends its running too."""
    found = list(status.get("conditions") or ())
    if kind != RUNNING and (old := condition.find(found, RUNNING)) is not None and old["status"] == "True":
        found = condition.merge(found, {**old, "status": "False", "lastTransitionTime": now})
    return {**status, "conditions": condition.merge(found, condition.build(kind, "True", REASONS[kind], message, now))}


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for(MANAGER)
        self.migrations = env.informers.informer(STORAGE_VERSION_MIGRATIONS).lister

    async def reconcile(self, name: str) -> float | None:
        obj = self.migrations.get(name)
        if obj is None or is_over(obj):
            return None
        if turn_of(self.migrations.list(), about(obj)) != name:
            return None  # woken when the other one is over
        try:
            resource = await resource_of(self._client, obj["spec"]["resource"])
        except Unmigratable as error:
            await self._write(obj, FAILED, str(error))
            return None
        if resource is None:
            wait = parse_time(obj["metadata"]["creationTimestamp"]) + DISCOVERY_SECONDS - self._clock.now()
            if wait > 0:
                return min(wait, 1.0)
            await self._write(obj, FAILED, "resource does not exist in discovery")
            return None
        await self._run(obj, resource)
        return None

    async def _run(self, obj: Object, resource: Resource) -> None:
        definition = await self._definition(resource)
        if not (obj.get("status") or {}).get("resourceVersion"):
            version = await newest_version(self._client, resource)
            obj = await self._update({**obj, "status": {**(obj.get("status") or {}), "resourceVersion": version}})
        if definition is not None:
            await self._mark(definition, "True", "MigrationRunning", f"Migration {obj['metadata']['name']} is running")
        if not holds(obj, RUNNING):
            obj = await self._write(obj, RUNNING, "")
        try:
            count = await migrate(self._client, resource)
        except ApiError as error:
            if passes(error):
                raise
            log.error("Cannot migrate", error, migration=obj["metadata"]["name"], resource=resource.group_resource)
            if definition is not None and (now := await self._definition_named(definition)) is not None:
                await self._mark(now, "True", "MigrationFailed", "The migration has failed")
            await self._write(obj, FAILED, "migration encountered unhandled error")
            return
        if definition is not None:
            await self._finish(definition)
        await self._write(obj, SUCCEEDED, "")
        log.info("Migrated", migration=obj["metadata"]["name"], resource=resource.group_resource, objects=count)

    async def _write(self, obj: Object, kind: str, message: str) -> Object:
        status = with_condition(obj.get("status") or {}, kind, message, format_time(self._clock.now()))
        return await self._update({**obj, "status": status})

    async def _update(self, obj: Object) -> Object:
        return await self._client.update(STORAGE_VERSION_MIGRATIONS, obj, subresource="status")

    async def _definition(self, resource: Resource) -> Object | None:
        """The definition of a custom resource, as it is now."""
        if "." not in resource.group:
            return None
        try:
            return await self._client.get(DEFINITIONS, resource.group_resource)
        except NotFound:
            return None

    async def _finish(self, before: Object) -> None:
        """The definition's other versions are given up, if it stores what it stored when this began."""
        now = await self._definition_named(before)
        if now is None:
            return
        kept = [version["name"] for version in now["spec"]["versions"] if version.get("storage")]
        if now["metadata"].get("generation") == before["metadata"].get("generation"):
            await self._mark(now, "False", "MigrationSucceeded",
                             "The migration has succeeded and the stored versions have been updated", kept)
        else:
            await self._mark(now, "False", "MigrationSucceeded",
                             "The migration has succeeded but the stored versions have not been updated due to a generation mismatch")

    async def _definition_named(self, definition: Object) -> Object | None:
        try:
            return await self._client.get(DEFINITIONS, definition["metadata"]["name"])
        except NotFound:
            return None

    async def _mark(self, definition: Object, status: str, reason: str, message: str, stored: Sequence[str] = ()) -> None:
        """Raises Conflict when the definition has changed; then all is begun again."""
        old = definition.get("status") or {}
        new = condition.build("StorageMigrating", status, reason, message, format_time(self._clock.now()))
        changed = {**old, "conditions": condition.merge(old.get("conditions") or [], new)}
        if stored:
            changed["storedVersions"] = list(stored)
        if changed != old:
            await self._client.update(DEFINITIONS, {**definition, "status": changed}, subresource="status")

    def of_same_resource(self, obj: Object) -> list[str]:
        return [item["metadata"]["name"] for item in self.migrations.list() if about(item) == about(obj)] or [obj["metadata"]["name"]]


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    return Controller("storage_version_migrator", reconciler.reconcile, (
        Watch(STORAGE_VERSION_MIGRATIONS, keys=reconciler.of_same_resource),), workers=5)
