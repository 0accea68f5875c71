"""What the scheduler watches beside nodes and pods: storage, owners of pods, devices. None of it has to be there: a kind that the server
does not serve, or does not let the scheduler read, is taken as empty and asked for again (`optional` informers)."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kubepy.api.resource import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    DEVICE_TAINT_RULES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
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
from kubepy.client.informer import ASK_AGAIN, InformerFactory
from kubepy.client.interface import Client
from kubepy.client.served import readable
from kubepy.client.store import key_of
from kubepy.scheduler.device.claims import claims_resource
from kubepy.scheduler.framework import Event
from kubepy.scheduler.queue import Queue
from kubepy.scheduler.snapshot import Snapshot

log = get_logger("related")

OWNERS = (SERVICES, REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS)
DEVICE_VERSIONS = ("v1", "v1beta2")
"""Those in which requests look as they do in v1, newest first."""


def device_resources(version: str) -> tuple[Resource, ...]:
    return (claims_resource(version), Resource("resource.k8s.io", version, "resourceslices", "ResourceSlice", False),
            Resource("resource.k8s.io", version, "deviceclasses", "DeviceClass", False))


async def device_version(client: Client, clock: Clock) -> str:
    """The newest version of resource.k8s.io that can be read, "" for none."""
    for version in DEVICE_VERSIONS:
        if all([await readable(client, clock, resource) for resource in device_resources(version)]):
            return version
    return ""


async def wait_for_devices(client: Client, clock: Clock, register: Callable[[str], None]) -> None:
    """Registers them when the server has them, which it has not now."""
    log.info("Not served or not readable: dynamic resource allocation is off", versions="/".join(DEVICE_VERSIONS))
    while not (version := await device_version(client, clock)):
        await clock.sleep(ASK_AGAIN)
    register(version)


class Related:
    """Keeps what plugins look at current in the snapshot, and tells the queue."""

    def __init__(self, snapshot: Snapshot, queue: Queue) -> None:
        self._snapshot, self._queue = snapshot, queue

    def register(self, factory: InformerFactory) -> None:
        volumes = self._snapshot.volumes
        kept: dict[Resource, dict[str, Object]] = {
            PERSISTENT_VOLUME_CLAIMS: volumes.claims, PERSISTENT_VOLUMES: volumes.volumes, STORAGE_CLASSES: volumes.classes,
            CSI_DRIVERS: volumes.drivers, CSI_STORAGE_CAPACITIES: volumes.capacities}
        for resource, where in kept.items():
            self._watch(factory, resource, partial(self._keep, where), partial(self._drop, where))
        self._watch(factory, CSI_NODES, lambda key, obj: volumes.set_csi_node(obj),
                    lambda key, obj: volumes.set_csi_node({"metadata": obj["metadata"]}))
        for resource in OWNERS:
            kind = resource.kind
            factory.informer(resource, transform=_slim, optional=True).add_handler(
                partial(self._snapshot.owners.set, kind), lambda _, new, kind=kind: self._snapshot.owners.set(kind, new),  # type: ignore[misc]
                partial(self._snapshot.owners.remove, kind))

    def register_devices(self, factory: InformerFactory, version: str) -> None:
        """By a version of resource.k8s.io."""
        devices = self._snapshot.devices
        devices.enabled, devices.version = True, version
        claims, slices, classes = device_resources(version)
        self._watch(factory, claims, devices.set_claim, lambda key, obj: devices.remove_claim(key))
        self._watch(factory, slices, devices.set_slice, lambda key, obj: devices.set_slice(key, None))
        self._watch(factory, classes, devices.set_class, lambda key, obj: devices.set_class(key, None))
        if devices.ruled:
            self._watch(factory, DEVICE_TAINT_RULES, devices.set_rule, lambda key, obj: devices.set_rule(key, None))

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

        factory.informer(resource, optional=True).add_handler(added, updated, deleted)

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
