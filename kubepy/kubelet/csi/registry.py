"""The drivers of this node: sockets in `<root>/plugins_registry` are asked who they are, and the API is told in the CSINode.

Known difference: the directory is looked through every second instead of watched; drivers' topology does not change after registration.
"""
from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import orjson

from kubepy.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubepy.api.resource import CSI_NODES, NODES
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.interface import Client
from kubepy.kubelet.csi import csi_pb2 as csi
from kubepy.kubelet.csi import registration_pb2 as pb
from kubepy.kubelet.csi.client import CsiError, Driver, PluginSocket

log = get_logger("csi")
_LOOK, _CALL = 1.0, 10.0
_TYPE = "CSIPlugin"


def with_driver(node: Object, name: str, info: csi.NodeGetInfoResponse) -> Object:
    """The CSINode with this driver in it."""
    entry: Object = {"name": name, "nodeID": info.node_id, "topologyKeys": sorted(info.accessible_topology.segments) or None}
    if info.max_volumes_per_node > 0:
        entry["allocatable"] = {"count": int(info.max_volumes_per_node)}
    drivers = [other for other in (node.get("spec") or {}).get("drivers") or () if other["name"] != name]
    return {**node, "spec": {**(node.get("spec") or {}), "drivers": [*drivers, entry]}}


def without_driver(node: Object, name: str) -> Object:
    drivers = [other for other in (node.get("spec") or {}).get("drivers") or () if other["name"] != name]
    return {**node, "spec": {**(node.get("spec") or {}), "drivers": drivers}}


class Registry:
    """Registered drivers by name. `changed` is called when there is a new one: pods may wait for it."""

    def __init__(self, root: str, client: Client, node_name: str, node: Callable[[], Object | None], clock: Clock,
                 changed: Callable[[], None]) -> None:
        self._directory = Path(root, "plugins_registry")
        self._client = client
        self._node_name = node_name
        self._node = node
        self._clock = clock
        self._changed = changed
        self._drivers: dict[str, Driver] = {}
        self._sockets: dict[str, tuple[int, str]] = {}
        """By path: inode and driver."""

    def find(self, name: str) -> Driver | None:
        return self._drivers.get(name)

    async def run(self) -> None:
        os.makedirs(self._directory, exist_ok=True, mode=0o750)
        while True:
            await self.look()
            await self._clock.sleep(_LOOK)

    async def look(self) -> None:
        if self._node() is None:
            return
        present = await asyncio.to_thread(_sockets, self._directory)
        for path, (inode, name) in list(self._sockets.items()):
            if present.get(path) != inode:
                del self._sockets[path]
                await self._remove(name)
        for path, inode in present.items():
            if path not in self._sockets:
                try:
                    name = await self._register(path)
                except (CsiError, ApiError, ConnectionError) as error:
                    log.warning("Plugin not registered yet", socket=path, err=error)
                    continue
                self._sockets[path] = (inode, name)

    async def _register(self, path: str) -> str:
        socket = PluginSocket(path)
        try:
            info = await socket.call("/pluginregistration.Registration/GetInfo", pb.InfoRequest(), pb.PluginInfo, _CALL)
            problem = ""
            if info.type != _TYPE:
                problem = f"no handler registered for plugin type: {info.type} at socket {path}"
            elif not any(version.lstrip("v").startswith("1.") for version in info.supported_versions):
                problem = f"failed to get CSI driver {info.name}: versions {list(info.supported_versions)} are not supported"
            if problem:
                log.warning("Plugin refused", name=info.name, why=problem)
            else:
                driver = Driver(info.name, info.endpoint or path)
                try:
                    await self._publish(info.name, await driver.info())
                except (CsiError, ApiError, ConnectionError):
                    await driver.close()
                    raise
                self._drivers[info.name] = driver
            status = pb.RegistrationStatus(plugin_registered=not problem, error=problem)
            await socket.call("/pluginregistration.Registration/NotifyRegistrationStatus", status, pb.RegistrationStatusResponse, _CALL)
            if not problem:
                log.info("CSI driver registered", driver=info.name, endpoint=info.endpoint)
                self._changed()
            return str(info.name)
        finally:
            await socket.close()

    async def _remove(self, name: str) -> None:
        driver = self._drivers.pop(name, None)
        if driver is None:
            return
        log.info("CSI driver gone", driver=name)
        await driver.close()
        try:
            await self._change(lambda node: without_driver(node, name))
        except (ApiError, ConnectionError) as error:
            log.warning("The CSINode still names a driver that is gone", driver=name, err=error)

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


def _sockets(directory: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            if stat.S_ISSOCK(status.st_mode) and not name.startswith("."):
                found[path] = status.st_ino
    return found
