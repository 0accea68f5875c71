"""What the scheduler watches beside nodes and pods: storage, owners of pods, devices. None of it has to be there: a kind that the server
does not serve, or does not let the scheduler read, is left out with a line in the log."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kubepy.api.errors import ApiError, Forbidden, NotFound
from kubepy.api.resource import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    Resource,
)
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.client.store import key_of
from kubepy.scheduler.device.claims import claims_resource
from kubepy.scheduler.framework import Event
from kubepy.scheduler.queue import Queue
from kubepy.scheduler.snapshot import Snapshot

log = get_logger("related")

OWNERS = (SERVICES, REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS)
STORAGE = (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES, CSI_NODES, CSI_DRIVERS, CSI_STORAGE_CAPACITIES)
DEVICE_VERSIONS = ("v1", "v1beta2")
"""Those in which requests look as they do in v1, newest first."""


def device_resources(version: str) -> tuple[Resource, ...]:
    return (claims_resource(version), Resource("resource.k8s.io", version, "resourceslices", "ResourceSlice", False),
            Resource("resource.k8s.io", version, "deviceclasses", "DeviceClass", False))


async def find_unserved(client: Client, clock: Clock) -> tuple[frozenset[Resource], str]:
    """The kinds to do without, and the version of resource.k8s.io to use ("" for none). Waits until the server can be reached."""
    missing = set()
    for resource in (POD_DISRUPTION_BUDGETS, *OWNERS, *STORAGE):
        if not await _readable(client, clock, resource):
            log.info("Not served or not readable: left out", resource=resource.group_resource)
            missing.add(resource)
    for version in DEVICE_VERSIONS:
        if all([await _readable(client, clock, resource) for resource in device_resources(version)]):
            return frozenset(missing), version
    log.info("Not served or not readable: dynamic resource allocation is off", versions="/".join(DEVICE_VERSIONS))
    return frozenset(missing), ""


async def _readable(client: Client, clock: Clock, resource: Resource) -> bool:
    while True:
        try:
            await client.list(resource, limit=1)
            return True
        except (NotFound, Forbidden):
            return False
        except (ApiError, ConnectionError) as error:
            log.v(2).info("Cannot ask the server yet", resource=resource.group_resource, err=error)
            await clock.sleep(1.0)


class Related:
    """Keeps what plugins look at current in the snapshot, and tells the queue."""

    def __init__(self, snapshot: Snapshot, queue: Queue) -> None:
        self._snapshot, self._queue = snapshot, queue

    def register(self, factory: InformerFactory, unserved: frozenset[Resource], version: str) -> None:
        """`version` of resource.k8s.io."""
        volumes = self._snapshot.volumes
        kept: dict[Resource, dict[str, Object]] = {
            PERSISTENT_VOLUME_CLAIMS: volumes.claims, PERSISTENT_VOLUMES: volumes.volumes, STORAGE_CLASSES: volumes.classes,
            CSI_DRIVERS: volumes.drivers, CSI_STORAGE_CAPACITIES: volumes.capacities}
        for resource, where in kept.items():
            if resource not in unserved:
                self._watch(factory, resource, partial(self._keep, where), partial(self._drop, where))
        if CSI_NODES not in unserved:
            self._watch(factory, CSI_NODES, lambda key, obj: volumes.set_csi_node(obj),
                        lambda key, obj: volumes.set_csi_node({"metadata": obj["metadata"]}))
        for resource in OWNERS:
            if resource not in unserved:
                kind = resource.kind
                factory.informer(resource, transform=_slim).add_handler(
                    partial(self._snapshot.owners.set, kind), lambda _, new, kind=kind: self._snapshot.owners.set(kind, new),  # type: ignore[misc]
                    partial(self._snapshot.owners.remove, kind))
        devices = self._snapshot.devices
        devices.enabled, devices.version = bool(version), version or "v1"
        if not version:
            return
        claims, slices, classes = device_resources(version)
        self._watch(factory, claims, devices.set_claim, lambda key, obj: devices.remove_claim(key))
        self._watch(factory, slices, devices.set_slice, lambda key, obj: devices.set_slice(key, None))
        self._watch(factory, classes, devices.set_class, lambda key, obj: devices.set_class(key, None))

    def _watch(self, factory: InformerFactory, resource: Resource, put: Callable[[str, Object], None],
               gone: Callable[[str, Object], None]) -> None:
        def added(obj: Object) -> None:
            put(key_of(obj), obj)
            self._queue.happened(Event(resource.kind, "add", None, obj))

        def updated(old: Object, new: Object) -> None:
            put(key_of(new), new)
            self._queue.happened(Event(resource.kind, "update", old, new))

        def deleted(obj: Object) -> None:
            gone(key_of(obj), obj)
            self._queue.happened(Event(resource.kind, "delete", obj, None))

        factory.informer(resource).add_handler(added, updated, deleted)

    def _keep(self, where: dict[str, Object], key: str, obj: Object) -> None:
        where[key] = obj

    def _drop(self, where: dict[str, Object], key: str, obj: Object) -> None:
        where.pop(key, None)
        if where is self._snapshot.volumes.volumes:
            self._snapshot.volumes.reserved.pop(key, None)


def _slim(obj: Object) -> Object:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    return {"metadata": {key: metadata[key] for key in ("namespace", "name", "resourceVersion") if key in metadata},
            "spec": {"selector": spec.get("selector")}}
