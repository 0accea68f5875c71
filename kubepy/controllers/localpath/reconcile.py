"""Making, growing and removing the directories and volumes of one node.

Directories are made and removed by the instance on their node. The one in the controller manager also makes volumes for nodes
that have none of their own (`others`): there the kubelet makes the directory (its owner is root) and removes it when it is asked.
Another kubelet than ours does not know how: the volume then fails to be deleted and says so, until the node is gone or
`kubepy local-path` runs there.

Sizes are checked against the free space when a volume is made and grown; the file system does not hold a volume to its size
afterwards (as with rancher's provisioner).
"""
from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from urllib.parse import urlencode

import orjson

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.node import kubelet_url
from kubepy.api.quantity import value_of
from kubepy.api.resource import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.client.store import key_of, split_key
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.localpath import plan
from kubepy.controllers.volume.match import class_of

log = get_logger("local-path")

ACCOUNT = "local-path-provisioner"
RETRY = 15.0
SWEEP = 600.0
RETRY_ELSEWHERE = 10.0


class Reconciler:
    def __init__(self, env: Environment, node: str, base: Path, others: bool) -> None:
        self._client = env.client_for(ACCOUNT)
        self._recorder = env.recorder(f"{plan.PROVISIONER}_{node}", ACCOUNT)
        self._node, self._base, self._others, self._env = node, base, others, env
        self._claims = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
        self._volumes = env.informers.informer(PERSISTENT_VOLUMES).lister
        self._classes = env.informers.informer(STORAGE_CLASSES).lister
        self._nodes = env.informers.informer(NODES).lister

    async def reconcile(self, key: str) -> float | None:
        """Keys are `claim:namespace/name`, `volume:name` and `directories:`."""
        kind, _, name = key.partition(":")
        if kind == "directories":
            return await self._sweep()
        if kind == "volume":
            volume = self._volumes.get(name)
            return await self._sync_volume(volume) if volume is not None else None
        namespace, claim_name = split_key(name)
        claim = self._claims.get(claim_name, namespace)
        storage_class = self._classes.get(class_of(claim)) if claim is not None else None
        if claim is None or storage_class is None or not plan.is_asked(claim, storage_class, self._node, self._others):
            return None
        return await self._provision(claim, storage_class)

    async def _provision(self, claim: Object, storage_class: Object) -> float | None:
        if self._volumes.get(plan.volume_name(claim)) is not None:
            return None
        key = key_of(claim)
        self._recorder.event(claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim "{key}"')
        path = plan.directory(self._base, claim)
        node = plan.notes(claim).get(plan.SELECTED_NODE) or self._node
        here = node == self._node
        wanted = value_of(claim["spec"]["resources"]["requests"]["storage"])
        why = plan.refusal(claim)
        if why is None and here:
            why = await asyncio.to_thread(_no_room, self._base, wanted)
        if why is None and here:
            try:
                await asyncio.to_thread(_make, path)
            except OSError as error:
                why = str(error)
        if why is not None:
            self._recorder.event(claim, "Warning", "ProvisioningFailed",
                                 f'failed to provision volume with StorageClass "{storage_class["metadata"]["name"]}": {why}')
            if plan.SELECTED_NODE in plan.notes(claim):  # the scheduler shall look for another node
                kept = {name: text for name, text in plan.notes(claim).items() if name != plan.SELECTED_NODE}
                await self._client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "metadata": {**claim["metadata"], "annotations": kept}})
                return None
            return RETRY
        volume = plan.volume(claim, storage_class, self._hostname(node), path, here=here)
        try:
            await self._client.create(PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            return None
        name = volume["metadata"]["name"]
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
        log.info("Volume made", volume=name, claim=key, path=path)
        return None

    async def _sync_volume(self, volume: Object) -> float | None:
        if not plan.is_ours(volume, self._hostname(self._node), self._base):
            if self._others and plan.is_to_be_removed(volume) and plan.notes(volume).get(plan.PROVISIONED_BY) == plan.PROVISIONER:
                return await self._remove_elsewhere(volume)
            return None
        if plan.is_to_be_removed(volume):
            await self._remove(volume)
            return None
        ref = volume["spec"].get("claimRef") or {}
        claim = self._claims.get(ref.get("name", ""), ref.get("namespace", ""))
        if (size := plan.grown(volume, claim)) is not None and claim is not None:
            return await self._grow(volume, claim, size)
        return None

    async def _remove_elsewhere(self, volume: Object) -> float | None:
        """A node that is gone has taken its directory along; on one that is there the kubelet removes it."""
        host, name = plan.host_of(volume), volume["metadata"]["name"]
        node = next((node for node in self._nodes.list() if self._hostname(node["metadata"]["name"]) == host), None)
        if node is not None and (why := await self._ask_kubelet(node, name, plan.path_of(volume) or "")) is not None:
            self._recorder.event(volume, "Warning", "VolumeFailedDelete",
                                 f"{plan.path_of(volume)} on node {host} is not removed: {why}; "
                                 "kubepy local-path on the node can do it, or remove it and then the volume")
            return RETRY_ELSEWHERE
        await self._forget(name)
        return None

    async def _ask_kubelet(self, node: Object, name: str, path: str) -> str | None:
        """Why the directory is still there; None when it is not."""
        url, connect = kubelet_url(node), self._env.kubelet
        if url is None or connect is None:
            return "the address of its kubelet is not known"
        client = connect(url)
        try:
            answer = orjson.loads(await client.raw("DELETE", f"/localVolumes/{name}?{urlencode({'path': path})}"))
        except NotFound:
            return "its kubelet does not know how"
        except (ApiError, ConnectionError, orjson.JSONDecodeError) as error:
            return str(error)
        finally:
            await client.close()
        log.info("Directory removed by the kubelet", volume=name, path=path, found=answer.get("removed"))
        return None

    async def _remove(self, volume: Object) -> None:
        name, path = volume["metadata"]["name"], Path(plan.path_of(volume) or "")
        try:
            await asyncio.to_thread(_remove, path)
        except OSError as error:
            self._recorder.event(volume, "Warning", "VolumeFailedDelete", str(error))
            raise ConnectionError(f"cannot remove {path}: {error}") from error
        await self._forget(name)
        log.info("Volume removed", volume=name, path=path)

    async def _forget(self, name: str) -> None:
        """Deletes the volume and lets it go."""
        try:
            volume = await self._client.get(PERSISTENT_VOLUMES, name)
            if volume["metadata"].get("deletionTimestamp") is None:
                volume = await self._client.delete(PERSISTENT_VOLUMES, name, uid=volume["metadata"]["uid"])
                volume = await self._client.get(PERSISTENT_VOLUMES, name)
            if plan.FINALIZER in (volume["metadata"].get("finalizers") or ()):
                await self._client.patch(PERSISTENT_VOLUMES, name, {"metadata": {
                    "resourceVersion": volume["metadata"]["resourceVersion"],
                    "finalizers": [item for item in volume["metadata"]["finalizers"] if item != plan.FINALIZER]}})
        except NotFound:
            log.v(2).info("Volume is gone already", volume=name)

    async def _grow(self, volume: Object, claim: Object, size: str) -> float | None:
        more = value_of(size) - value_of(volume["spec"]["capacity"]["storage"])
        why = await asyncio.to_thread(_no_room, self._base, more)
        if why is not None:
            self._recorder.event(claim, "Warning", "VolumeResizeFailed",
                                 f'resize volume "{volume["metadata"]["name"]}" by resizer "{plan.PROVISIONER}" failed: {why}')
            return RETRY
        if more > 0:
            await self._client.patch(PERSISTENT_VOLUMES, volume["metadata"]["name"], {"spec": {"capacity": {"storage": size}}})
        status = claim.get("status") or {}
        conditions = condition.without(condition.without(status.get("conditions") or (), "Resizing"), "FileSystemResizePending")
        await self._client.patch(PERSISTENT_VOLUME_CLAIMS, claim["metadata"]["name"], {"status": {
            "capacity": {"storage": size}, "conditions": conditions or None}}, claim["metadata"]["namespace"], subresource="status")
        self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        return None

    async def _sweep(self) -> float:
        """Directories of claims that went before their volumes were made: empty ones without a claim or a volume."""
        known = {plan.volume_name(claim) for claim in self._claims.list()} | {item["metadata"]["name"] for item in self._volumes.list()}
        for path in await asyncio.to_thread(_directories, self._base):
            name = path.name.partition("_")[0]
            if name in known:
                continue
            try:
                await self._client.get(PERSISTENT_VOLUMES, name)  # the cache may be behind
            except NotFound:
                if await asyncio.to_thread(_remove_empty, path):
                    log.info("Directory without a volume removed", path=path)
        return SWEEP

    def _hostname(self, name: str) -> str:
        node = self._nodes.get(name)
        return str(((node or {}).get("metadata") or {}).get("labels", {}).get(plan.HOSTNAME) or name)

    def keys_of_claim(self, claim: Object) -> tuple[str, ...]:
        name = claim["spec"].get("volumeName")
        return (f"claim:{key_of(claim)}", *((f"volume:{name}",) if name else ()))


def _no_room(base: Path, wanted: int) -> str | None:
    base.mkdir(parents=True, exist_ok=True)
    free = os.statvfs(base)
    available = free.f_bavail * free.f_frsize
    return None if wanted <= available else f"{wanted} bytes are asked for and {available} are free"


def _make(path: Path) -> None:
    """Any user may write: pods run as whom they like."""
    path.mkdir(mode=0o777, exist_ok=True)
    path.chmod(0o777)


def _remove(path: Path) -> None:
    """The directory and what is in it; links in it are removed, not followed."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _directories(base: Path) -> list[Path]:
    return [path for path in base.glob("pvc-*_*") if path.is_dir() and not path.is_symlink()] if base.is_dir() else []


def _remove_empty(path: Path) -> bool:
    """What holds anything stays: somebody may have kept the data and removed the volume."""
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def build(env: Environment, node: str, base: Path, others: bool = False) -> Controller:
    reconciler = Reconciler(env, node, base, others)

    def of_class(storage_class: Object) -> list[str]:
        name = storage_class["metadata"]["name"]
        return [f"claim:{key_of(claim)}" for claim in reconciler._claims.list() if class_of(claim) == name
                and not claim["spec"].get("volumeName")]

    def of_node(node: Object) -> list[str]:
        return [f"volume:{volume['metadata']['name']}" for volume in reconciler._volumes.list() if plan.is_to_be_removed(volume)]

    watches = (
        Watch(PERSISTENT_VOLUME_CLAIMS, keys=reconciler.keys_of_claim),
        Watch(PERSISTENT_VOLUMES, keys=lambda volume: (f"volume:{volume['metadata']['name']}",)),
        Watch(STORAGE_CLASSES, keys=of_class),
        Watch(NODES, keys=of_node, when=lambda old, new: new is None),
    )
    async def begin(queue: WorkQueue[str]) -> None:
        queue.add("directories:")
        await asyncio.Event().wait()

    return Controller("local_path_provisioner", reconciler.reconcile, watches, workers=2, start=begin)


def controller(env: Environment) -> Controller | None:
    """In a controller manager: for the node it runs on, when it is told which that is."""
    options = env.options
    return build(env, options.local_path_node, Path(options.local_path_directory), others=True) if options.local_path_node else None
