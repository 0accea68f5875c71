"""A pod's CSI volumes: attached (waited for), staged once on the node, published for the pod, grown, measured; and all of it back.

Paths and `vol_data.json` are upstream's, so that a restarted kubelet of either kind takes down what the other has mounted. A raw block
volume is published as a file below `plugins/kubernetes.io/csi/volumeDevices`; the pod's directory has a link to it.
Known differences: SELinux contexts are left to the driver; a block volume is not bound to a loop device, the kubelet does not lock it.
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
from pathlib import Path

import orjson

from kubepy.api.errors import NotFound
from kubepy.api.resource import CSI_DRIVERS, SECRETS, VOLUME_ATTACHMENTS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.interface import Client
from kubepy.kubelet.csi import csi_pb2 as pb
from kubepy.kubelet.csi.client import Driver
from kubepy.kubelet.csi.registry import Registry
from kubepy.kubelet.csi.spec import Volume, attachment_name, capability, gives_group, keep, pod_info
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import RpcError
from kubepy.kubelet.settings import Settings
from kubepy.kubelet.volume import mount as mounts
from kubepy.kubelet.volume.ownership import set_group
from kubepy.kubelet.volume.token import Tokens

log = get_logger("csi")
_RPC = pb.NodeServiceCapability.RPC
RESOURCE_EXHAUSTED = 8
"""The gRPC code with which a driver says that the node has as many volumes as it can take."""
_TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


class CsiVolumeError(Exception):
    """The volume is not there yet; the message is part of the FailedMount event's."""


class CsiVolumes:
    def __init__(self, settings: Settings, client: Client, registry: Registry, tokens: Tokens) -> None:
        self._settings = settings
        self._client = client
        self._registry = registry
        self._tokens = tokens
        self._locks: dict[str, asyncio.Lock] = {}
        """By volume handle: staging and unstaging take turns."""

    @property
    def _plugin(self) -> Path:
        return Path(self._settings.root_dir, "plugins", "kubernetes.io", "csi")

    def staging(self, volume: Volume) -> Path:
        if volume.block:
            return self._plugin / "volumeDevices" / "staging" / volume.name
        return self._plugin / volume.driver / hashlib.sha256(volume.handle.encode()).hexdigest() / "globalmount"

    def _places(self, uid: str, volume: Volume) -> tuple[Path, Path]:
        """(where the kubelet remembers the pod's volume, what is published)."""
        if volume.block:
            home = self._settings.pods_dir / uid / "volumeDevices" / "kubernetes.io~csi" / volume.name
            return home, self._plugin / "volumeDevices" / "publish" / volume.name / uid
        home = self._settings.pods_dir / uid / "volumes" / "kubernetes.io~csi" / volume.name
        return home, home / "mount"

    def _driver(self, name: str) -> Driver:
        driver = self._registry.find(name)
        if driver is None:
            raise CsiVolumeError("kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name "
                                 f"{name} not found in the list of registered CSI drivers")
        return driver

    async def mount(self, pod: Object, volume: Volume) -> Path:
        """Where the pod's volume (or its device) is, published. Raises CsiVolumeError, RpcError, ApiError, OSError."""
        home, target = self._places(podspec.uid_of(pod), volume)
        there = (home / "vol_data.json").exists() and (target.exists() if volume.block else mounts.is_mount_point(target))
        spec = await self._driver_spec(volume.driver)
        if there and not spec.get("requiresRepublish"):
            return target
        driver = self._driver(volume.driver)
        if (mode := "Ephemeral" if volume.ephemeral else "Persistent") not in (spec.get("volumeLifecycleModes") or ["Persistent"]):
            raise CsiVolumeError(f"kubernetes.io/csi: mounter.SetUpAt failed to check volume lifecycle mode: volume mode \"{mode}\" not "
                                 f"supported by driver {volume.driver} (only supports {spec.get('volumeLifecycleModes')})")
        able = await driver.capabilities()
        security = pod["spec"].get("securityContext") or {}
        group = security.get("fsGroup")
        wish = capability(volume, able, group)
        context = await self._attached(volume) if spec.get("attachRequired", True) and not volume.ephemeral else {}
        async with self._lock(volume.handle):
            staged = ""
            if not volume.ephemeral and _RPC.STAGE_UNSTAGE_VOLUME in able:
                staged = str(self.staging(volume)) if there else str(await self._stage(driver, volume, wish, context))
            keep(home, volume, self._settings.node_name)
            if volume.block:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            attributes = {**volume.attributes, **(pod_info(pod, volume) if spec.get("podInfoOnMount") else {})}
            if volume.ephemeral:
                attributes["csi.storage.k8s.io/ephemeral"] = "true"
            secrets = await self._secrets(volume.publish_secret)
            if spec.get("tokenRequests"):
                tokens = await self._service_account_tokens(pod, spec["tokenRequests"])
                (secrets if spec.get("serviceAccountTokenInSecrets") else attributes)[_TOKENS] = tokens
            await driver.publish(pb.NodePublishVolumeRequest(
                volume_id=volume.handle, publish_context=context, staging_target_path=staged, target_path=str(target),
                volume_capability=wish, readonly=volume.read_only, secrets=secrets, volume_context=attributes))
        if group is not None and not there and not volume.block and _RPC.VOLUME_MOUNT_GROUP not in able and \
                gives_group(volume, spec.get("fsGroupPolicy") or "ReadWriteOnceWithFSType"):
            await asyncio.to_thread(set_group, target, group, only_if_root_differs=security.get("fsGroupChangePolicy") == "OnRootMismatch")
        return target

    async def expand(self, pod: Object, volume: Volume) -> bool:
        """Tells the driver that the volume has become larger; False when it has nothing to do with that."""
        driver = self._driver(volume.driver)
        able = await driver.capabilities()
        if _RPC.EXPAND_VOLUME not in able:
            return False
        _, target = self._places(podspec.uid_of(pod), volume)
        staged = str(self.staging(volume)) if _RPC.STAGE_UNSTAGE_VOLUME in able else ""
        await driver.expand(pb.NodeExpandVolumeRequest(
            volume_id=volume.handle, volume_path=str(target), staging_target_path=staged, volume_capability=capability(volume, able),
            capacity_range=pb.CapacityRange(required_bytes=volume.size), secrets=await self._secrets(volume.expand_secret)))
        log.info("Volume expanded on the node", volume=volume.name, bytes=volume.size)
        return True

    async def usage(self, driver_name: str, handle: str, path: Path) -> pb.NodeGetVolumeStatsResponse | None:
        """What the driver says of a published volume; None when it measures none. Raises RpcError."""
        driver = self._registry.find(driver_name)
        if driver is None or _RPC.GET_VOLUME_STATS not in await driver.capabilities():
            return None
        return await driver.usage(pb.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=str(path)))

    async def unmount(self, uid: str) -> None:
        """Unpublishes all of a pod's volumes and unstages what no other pod uses. Raises OSError when a driver cannot."""
        for home in await asyncio.to_thread(_homes, self._settings.pods_dir / uid):
            data = orjson.loads(await asyncio.to_thread((home / "vol_data.json").read_bytes))
            volume = Volume(data.get("specVolID") or home.name, data["driverName"], data["volumeHandle"], {},
                            block="volumeDevices" in home.parts)
            driver = self._registry.find(volume.driver)
            if driver is None:
                raise OSError(f"cannot unmount {home}: driver name {volume.driver} not found in the list of registered CSI drivers")
            _, target = self._places(uid, volume)
            async with self._lock(volume.handle):
                try:
                    await driver.unpublish(volume.handle, str(target))
                    mounts.unmount(target)
                    await asyncio.to_thread(_remove, target)
                    await asyncio.to_thread(shutil.rmtree, home)
                    staging = self.staging(volume)
                    if staging.is_dir() and not await asyncio.to_thread(self._used, volume.handle):
                        await driver.unstage(volume.handle, str(staging))
                        mounts.unmount(staging)
                        await asyncio.to_thread(shutil.rmtree, staging if volume.block else staging.parent, True)
                except RpcError as error:
                    raise OSError(f"cannot unmount {home}: {error}") from error

    def in_use(self) -> list[str]:
        """Unique names of the attachable volumes of this node, for the node's status."""
        return sorted({f"kubernetes.io/csi/{data['driverName']}^{data['volumeHandle']}" for data in self._all()
                       if data.get("volumeLifecycleMode") == "Persistent"})

    def _used(self, handle: str) -> bool:
        return any(data["volumeHandle"] == handle for data in self._all())

    def _all(self) -> list[dict[str, str]]:
        found = []
        for file in self._settings.pods_dir.glob("*/volume*/kubernetes.io~csi/*/vol_data.json"):
            try:
                found.append(orjson.loads(file.read_bytes()))
            except (OSError, orjson.JSONDecodeError):
                continue
        return found

    async def _stage(self, driver: Driver, volume: Volume, wish: pb.VolumeCapability, context: dict[str, str]) -> Path:
        path = self.staging(volume)
        if not volume.block:
            keep(path.parent, volume, self._settings.node_name)
        os.makedirs(path, exist_ok=True, mode=0o750)
        await driver.stage(pb.NodeStageVolumeRequest(
            volume_id=volume.handle, publish_context=context, staging_target_path=str(path), volume_capability=wish,
            secrets=await self._secrets(volume.stage_secret), volume_context=volume.attributes))
        return path

    async def _service_account_tokens(self, pod: Object, requests: list[Object]) -> str:
        found = {}
        for request in requests:
            source = {"audience": request.get("audience") or "", "expirationSeconds": request.get("expirationSeconds")}
            text, expires = await self._tokens.with_expiry(pod, source)
            found[source["audience"]] = {"token": text, "expirationTimestamp": expires}
        return orjson.dumps(found).decode()

    async def _driver_spec(self, name: str) -> Object:
        try:
            return (await self._client.get(CSI_DRIVERS, name)).get("spec") or {}
        except NotFound:
            return {}

    async def _attached(self, volume: Volume) -> dict[str, str]:
        name = attachment_name(volume, self._settings.node_name)
        try:
            status = (await self._client.get(VOLUME_ATTACHMENTS, name)).get("status") or {}
        except NotFound as error:
            raise CsiVolumeError(f"volume attachment {name} does not exist yet: the volume is not attached to this node") from error
        if not status.get("attached"):
            error_ = status.get("attachError") or {}
            problem = error_.get("message", "")
            if error_.get("errorCode") == RESOURCE_EXHAUSTED:
                await self._registry.recount(volume.driver)
            raise CsiVolumeError(f"volume attachment {name} is not attached yet" + (f": {problem}" if problem else ""))
        return dict(status.get("attachmentMetadata") or {})

    async def _secrets(self, reference: tuple[str, str] | None) -> dict[str, str]:
        if reference is None:
            return {}
        found = await self._client.get(SECRETS, reference[1], reference[0])
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in (found.get("data") or {}).items()}

    def _lock(self, handle: str) -> asyncio.Lock:
        return self._locks.setdefault(handle, asyncio.Lock())


def _homes(directory: Path) -> list[Path]:
    return [file.parent for file in directory.glob("volume*/kubernetes.io~csi/*/vol_data.json")]


def _remove(target: Path) -> None:
    """What a driver left of a published device."""
    if target.is_file() and not target.is_symlink():
        target.unlink()
