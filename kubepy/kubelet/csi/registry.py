"""The CSI drivers of this node, as they register; the API is told in the CSINode.

How many volumes a driver can take here may change (MutableCSINodeAllocatableCount): it is asked again every
`nodeAllocatableUpdatePeriodSeconds` of its CSIDriver, and when a volume could not be attached because the node has too many.
Known difference: drivers' topology does not change after registration.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from kubepy.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubepy.api.resource import CSI_DRIVERS, CSI_NODES, NODES
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.interface import Client
from kubepy.kubelet.csi import csi_pb2 as csi
from kubepy.kubelet.csi.client import Driver
from kubepy.kubelet.rpc import RpcError

log = get_logger("csi")
LOOK_SECONDS = 10.0
"""The shortest period that a CSIDriver may ask for."""


def with_driver(node: Object, name: str, info: csi.NodeGetInfoResponse) -> Object:
    """The CSINode with this driver in it."""
    entry: Object = {"name": name, "nodeID": info.node_id, "topologyKeys": sorted(info.accessible_topology.segments) or None}
    if info.max_volumes_per_node > 0:
        entry["allocatable"] = {"count": int(info.max_volumes_per_node)}
    drivers = [other for other in (node.get("spec") or {}).get("drivers") or () if other["name"] != name]
    return {**node, "spec": {**(node.get("spec") or {}), "drivers": [*drivers, entry]}}


def with_count(node: Object, name: str, count: int) -> Object | None:
    """The CSINode with another number of volumes for this driver (0: as many as there are); None when that is what it says."""
    drivers = (node.get("spec") or {}).get("drivers") or ()
    wanted: Object = {"count": count} if count > 0 else {}
    if all(driver["name"] != name or (driver.get("allocatable") or {}) == wanted for driver in drivers):
        return None
    changed = [{**driver, "allocatable": wanted or None} if driver["name"] == name else driver for driver in drivers]
    return {**node, "spec": {**(node.get("spec") or {}), "drivers": changed}}


def without_driver(node: Object, name: str) -> Object:
    drivers = [other for other in (node.get("spec") or {}).get("drivers") or () if other["name"] != name]
    return {**node, "spec": {**(node.get("spec") or {}), "drivers": drivers}}


class Registry:
    """Registered drivers by name. `changed` is called when there is a new one: pods may wait for it."""

    kind = "CSIPlugin"

    def __init__(self, client: Client, node_name: str, node: Callable[[], Object | None], changed: Callable[[], None],
                 clock: Clock) -> None:
        self._client = client
        self._node_name = node_name
        self._node = node
        self._changed = changed
        self._clock = clock
        self._drivers: dict[str, Driver] = {}
        self._asked: dict[str, float] = {}
        """When each driver was last asked how many volumes it can take: seconds of the clock's `monotonic`."""

    def find(self, name: str) -> Driver | None:
        return self._drivers.get(name)

    def ready(self) -> bool:
        return self._node() is not None

    def refuse(self, name: str, versions: Sequence[str]) -> str:
        if any(version.lstrip("v").startswith("1.") for version in versions):
            return ""
        return f"failed to get CSI driver {name}: versions {list(versions)} are not supported"

    async def add(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        driver = Driver(name, endpoint)
        try:
            await self._publish(name, await driver.info())
        except (RpcError, ApiError, ConnectionError):
            await driver.close()
            raise
        self._drivers[name] = driver

    async def added(self, name: str) -> None:
        self._changed()

    async def remove(self, name: str) -> None:
        driver = self._drivers.pop(name, None)
        if driver is None:
            return
        log.info("CSI driver gone", driver=name)
        await driver.close()
        try:
            await self._change(lambda node: without_driver(node, name))
        except (ApiError, ConnectionError) as error:
            log.warning("The CSINode still names a driver that is gone", driver=name, err=error)

    async def run(self) -> None:
        """Asks drivers again as often as they want to be asked."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for name in list(self._drivers):
                try:
                    spec = (await self._client.get(CSI_DRIVERS, name)).get("spec") or {}
                    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
                    if period and self._asked.get(name, 0.0) + period <= self._clock.monotonic():
                        await self.recount(name)
                except NotFound:
                    continue
                except (ApiError, ConnectionError) as error:
                    log.warning("Cannot look at a CSI driver", driver=name, err=error)

    async def recount(self, name: str) -> None:
        """Asks a driver how many volumes it can take, not more often than every 10 s, and tells the API of a change."""
        driver = self._drivers.get(name)
        if driver is None or self._clock.monotonic() - self._asked.get(name, -LOOK_SECONDS) < LOOK_SECONDS:
            return
        self._asked[name] = self._clock.monotonic()
        try:
            count = int((await driver.info()).max_volumes_per_node)
            node = await self._client.get(CSI_NODES, self._node_name)
            if (changed := with_count(node, name, count)) is not None:
                await self._client.update(CSI_NODES, changed)
                log.info("A CSI driver takes another number of volumes", driver=name, count=count)
        except (RpcError, ApiError, ConnectionError) as error:
            log.warning("Cannot say how many volumes a CSI driver takes", driver=name, err=error)

    async def _publish(self, name: str, info: csi.NodeGetInfoResponse) -> None:
        """Labels of the topology and the driver's ID for the node on the Node, the driver in the CSINode."""
        labels = dict(info.accessible_topology.segments)
        known = (self._node() or {}).get("metadata") or {}
        ids = orjson.loads((known.get("annotations") or {}).get("csi.volume.kubernetes.io/nodeid") or "{}")
        ids[name] = info.node_id
        patch = {"metadata": {"labels": labels, "annotations": {"csi.volume.kubernetes.io/nodeid": orjson.dumps(ids).decode()}}}
        await self._client.patch(NODES, self._node_name, patch, type="merge")
        await self._change(lambda node: with_driver(node, name, info))

    async def _change(self, change: Callable[[Object], Object]) -> None:
        for attempt in range(5):
            try:
                await self._client.update(CSI_NODES, change(await self._client.get(CSI_NODES, self._node_name)))
                return
            except NotFound:
                owner = self._node() or {"metadata": {}}
                fresh: Object = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {
                    "name": self._node_name, "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": self._node_name,
                                                                  "uid": owner["metadata"].get("uid", "")}]}, "spec": {"drivers": []}}
                try:
                    await self._client.create(CSI_NODES, change(fresh))
                    return
                except AlreadyExists:
                    continue
            except Conflict:
                if attempt == 4:
                    raise
