"""What the scheduler watches beside nodes and pods: namespaces, storage, owners of pods, devices. None of it has to be there: a kind that
the server does not serve, or does not let the scheduler read, is left out with a line in the log."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kubepy.api.errors import ApiError, Forbidden, NotFound
from kubepy.api.resource import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    DEVICE_TAINT_RULES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
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


KINDS = frozenset((NAMESPACES, POD_DISRUPTION_BUDGETS, *OWNERS, *STORAGE))
AGAIN_SECONDS = 30.0


class Probe:
    """Finds out which kinds can be read: at first, and later again for those that could not (roles may be bound after the start)."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._missing: set[Resource] = set(KINDS)
        self._devices = ""

    async def wait(self) -> None:
        """Until pods and nodes can be read: without them there is nothing to do."""
        for resource in (PODS, NODES):
            while not await self._readable(resource):
                log.warning("Cannot read yet", resource=resource.group_resource)
                await self._clock.sleep(1.0)

    async def found(self) -> tuple[frozenset[Resource], str]:
        """The kinds that can be read and could not before, and the version of resource.k8s.io if that is new ("": it is not)."""
        kinds = frozenset([resource for resource in sorted(self._missing) if await self._readable(resource)])
        self._missing -= kinds
        if self._devices:
            return kinds, ""
        for version in DEVICE_VERSIONS:
            if all([await self._readable(resource) for resource in device_resources(version)]):
                self._devices = version
                return kinds, version
        return kinds, ""

    def tell(self) -> None:
        """What is done without."""
        for resource in sorted(self._missing):
            log.info("Not served or not readable: left out", resource=resource.group_resource)
        if not self._devices:
            log.info("Not served or not readable: dynamic resource allocation is off", versions="/".join(DEVICE_VERSIONS))

    async def _readable(self, resource: Resource) -> bool:
        while True:
            try:
                await self._client.list(resource, limit=1)
                return True
            except (NotFound, Forbidden):
                return False
            except (ApiError, ConnectionError) as error:
                log.v(2).info("Cannot ask the server yet", resource=resource.group_resource, err=error)
                await self._clock.sleep(1.0)

    async def look_again(self, register: Callable[[frozenset[Resource], str], None]) -> None:
        """Registers what can be read later than at the start."""
        while self._missing or not self._devices:
            await self._clock.sleep(AGAIN_SECONDS)
            kinds, version = await self.found()
            if kinds or version:
                log.info("Can be read now", kinds=",".join(kind.group_resource for kind in sorted(kinds)), devices=version)
                register(kinds, version)


class Related:
    """Keeps what plugins look at current in the snapshot, and tells the queue."""

    def __init__(self, snapshot: Snapshot, queue: Queue) -> None:
        self._snapshot, self._queue = snapshot, queue

    def register(self, factory: InformerFactory, wanted: frozenset[Resource], version: str) -> None:
        """Of the kinds `wanted`, and devices by a `version` of resource.k8s.io ("": none)."""
        volumes = self._snapshot.volumes
        kept: dict[Resource, dict[str, Object]] = {
            PERSISTENT_VOLUME_CLAIMS: volumes.claims, PERSISTENT_VOLUMES: volumes.volumes, STORAGE_CLASSES: volumes.classes,
            CSI_DRIVERS: volumes.drivers, CSI_STORAGE_CAPACITIES: volumes.capacities}
        for resource, where in kept.items():
            if resource in wanted:
                self._watch(factory, resource, partial(self._keep, where), partial(self._drop, where))
        if CSI_NODES in wanted:
            self._watch(factory, CSI_NODES, lambda key, obj: volumes.set_csi_node(obj),
                        lambda key, obj: volumes.set_csi_node({"metadata": obj["metadata"]}))
        for resource in OWNERS:
            if resource in wanted:
                kind = resource.kind
                factory.informer(resource, transform=_slim).add_handler(
                    partial(self._snapshot.owners.set, kind), lambda _, new, kind=kind: self._snapshot.owners.set(kind, new),  # type: ignore[misc]
                    partial(self._snapshot.owners.remove, kind))
        if not version:
            return
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
