"""A pod's CSI volumes: attached (waited for), staged once on the node, published for the pod; and all of it back.

Paths and `vol_data.json` are upstream's, so that a restarted kubelet of either kind takes down what the other has mounted.
Known differences: no raw block volumes, no service account tokens for drivers (both fail or are left out with a clear message).
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
from dataclasses import dataclass
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
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import RpcError
from kubepy.kubelet.settings import Settings
from kubepy.kubelet.volume import mount as mounts
from kubepy.kubelet.volume.ownership import set_group

log = get_logger("csi")
_MODE = pb.VolumeCapability.AccessMode
_MODES = {"ReadWriteOnce": _MODE.SINGLE_NODE_WRITER, "ReadOnlyMany": _MODE.MULTI_NODE_READER_ONLY,
          "ReadWriteMany": _MODE.MULTI_NODE_MULTI_WRITER, "ReadWriteOncePod": _MODE.SINGLE_NODE_WRITER}


class CsiVolumeError(Exception):
    """The volume is not there yet; the message is part of the FailedMount event's."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What is to be mounted, from a persistent volume or from the pod itself (`ephemeral`)."""

    name: str
    """Of the persistent volume, or of the pod's volume: the directory's name."""
    driver: str
    handle: str
    attributes: dict[str, str]
    fs_type: str = ""
    mode: str = "ReadWriteOnce"
    mount_flags: tuple[str, ...] = ()
    read_only: bool = False
    ephemeral: bool = False
    stage_secret: tuple[str, str] | None = None
    publish_secret: tuple[str, str] | None = None


def persistent(volume: Object, *, read_only: bool) -> Volume:
    spec = volume["spec"]
    source = spec["csi"]
    modes = spec.get("accessModes") or ["ReadWriteOnce"]
    mode = next((mode for mode in ("ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany") if mode in modes), modes[0])
    return Volume(volume["metadata"]["name"], source["driver"], source["volumeHandle"], source.get("volumeAttributes") or {},
                  source.get("fsType") or "", mode, tuple(spec.get("mountOptions") or ()), read_only or bool(source.get("readOnly")),
                  stage_secret=_secret(source.get("nodeStageSecretRef")), publish_secret=_secret(source.get("nodePublishSecretRef")))


def inline(pod: Object, volume: Object) -> Volume:
    source = volume["csi"]
    handle = "csi-" + hashlib.sha256((podspec.uid_of(pod) + volume["name"]).encode()).hexdigest()
    secret = source.get("nodePublishSecretRef")
    namespace = pod["metadata"].get("namespace") or "default"
    return Volume(volume["name"], source["driver"], handle, source.get("volumeAttributes") or {}, source.get("fsType") or "",
                  read_only=bool(source.get("readOnly")), ephemeral=True, publish_secret=(namespace, secret["name"]) if secret else None)


def _secret(reference: Object | None) -> tuple[str, str] | None:
    return (reference["namespace"], reference["name"]) if reference else None


def attachment_name(volume: Volume, node: str) -> str:
    return "csi-" + hashlib.sha256((volume.handle + volume.driver + node).encode()).hexdigest()


def capability(volume: Volume) -> pb.VolumeCapability:
    return pb.VolumeCapability(mount=pb.VolumeCapability.MountVolume(fs_type=volume.fs_type, mount_flags=volume.mount_flags),
                               access_mode=pb.VolumeCapability.AccessMode(mode=_MODES.get(volume.mode, _MODE.SINGLE_NODE_WRITER)))


def gives_group(volume: Volume, policy: str) -> bool:
    """Whether the kubelet changes the volume's group (CSIDriver.spec.fsGroupPolicy)."""
    if volume.read_only or policy == "None":
        return False
    return policy == "File" or (bool(volume.fs_type) and volume.mode in ("ReadWriteOnce", "ReadWriteOncePod"))


class CsiVolumes:
    def __init__(self, settings: Settings, client: Client, registry: Registry) -> None:
        self._settings = settings
        self._client = client
        self._registry = registry
        self._locks: dict[str, asyncio.Lock] = {}
        """By volume handle: staging and unstaging take turns."""

    def staging(self, driver: str, handle: str) -> Path:
        digest = hashlib.sha256(handle.encode()).hexdigest()
        return Path(self._settings.root_dir, "plugins", "kubernetes.io", "csi", driver, digest, "globalmount")

    async def mount(self, pod: Object, volume: Volume) -> Path:
        """Where the pod's volume is, mounted. Raises CsiVolumeError, RpcError, ApiError, OSError."""
        uid = podspec.uid_of(pod)
        home = self._settings.pods_dir / uid / "volumes" / "kubernetes.io~csi" / volume.name
        target = home / "mount"
        if (home / "vol_data.json").exists() and mounts.is_mount_point(target):
            return target
        driver = self._registry.find(volume.driver)
        if driver is None:
            raise CsiVolumeError("kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name "
                                 f"{volume.driver} not found in the list of registered CSI drivers")
        spec = await self._driver_spec(volume.driver)
        modes = spec.get("volumeLifecycleModes") or ["Persistent"]
        if (mode := "Ephemeral" if volume.ephemeral else "Persistent") not in modes:
            raise CsiVolumeError(f"kubernetes.io/csi: mounter.SetUpAt failed to check volume lifecycle mode: volume mode \"{mode}\" not "
                                 f"supported by driver {volume.driver} (only supports {modes})")
        context = await self._attached(volume) if spec.get("attachRequired", True) and not volume.ephemeral else {}
        staged = ""
        async with self._lock(volume.handle):
            if not volume.ephemeral and await driver.stages():
                staged = str(await self._stage(driver, volume, context))
            _keep(home, volume, self._settings.node_name)
            attributes = {**volume.attributes, **(_pod_info(pod, volume) if spec.get("podInfoOnMount") else {})}
            if volume.ephemeral:
                attributes["csi.storage.k8s.io/ephemeral"] = "true"
            await driver.publish(pb.NodePublishVolumeRequest(
                volume_id=volume.handle, publish_context=context, staging_target_path=staged, target_path=str(target),
                volume_capability=capability(volume), readonly=volume.read_only, secrets=await self._secrets(volume.publish_secret),
                volume_context=attributes))
        security = pod["spec"].get("securityContext") or {}
        if (gid := security.get("fsGroup")) is not None and gives_group(volume, spec.get("fsGroupPolicy") or "ReadWriteOnceWithFSType"):
            await asyncio.to_thread(set_group, target, gid, only_if_root_differs=security.get("fsGroupChangePolicy") == "OnRootMismatch")
        return target

    async def unmount(self, uid: str) -> None:
        """Unpublishes all of a pod's volumes and unstages what no other pod uses. Raises OSError when a driver cannot."""
        for home in await asyncio.to_thread(_homes, self._settings.pods_dir / uid):
            data = orjson.loads(await asyncio.to_thread((home / "vol_data.json").read_bytes))
            name, handle = data["driverName"], data["volumeHandle"]
            driver = self._registry.find(name)
            if driver is None:
                raise OSError(f"cannot unmount {home}: driver name {name} not found in the list of registered CSI drivers")
            async with self._lock(handle):
                try:
                    await driver.unpublish(handle, str(home / "mount"))
                    mounts.unmount(home / "mount")
                    await asyncio.to_thread(shutil.rmtree, home)
                    staging = self.staging(name, handle)
                    if staging.parent.is_dir() and not await asyncio.to_thread(self._used, handle):
                        await driver.unstage(handle, str(staging))
                        mounts.unmount(staging)
                        await asyncio.to_thread(shutil.rmtree, staging.parent)
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
        for file in self._settings.pods_dir.glob("*/volumes/kubernetes.io~csi/*/vol_data.json"):
            try:
                found.append(orjson.loads(file.read_bytes()))
            except (OSError, orjson.JSONDecodeError):
                continue
        return found

    async def _stage(self, driver: Driver, volume: Volume, context: dict[str, str]) -> Path:
        path = self.staging(volume.driver, volume.handle)
        _keep(path.parent, volume, self._settings.node_name)
        os.makedirs(path, exist_ok=True, mode=0o750)
        await driver.stage(pb.NodeStageVolumeRequest(
            volume_id=volume.handle, publish_context=context, staging_target_path=str(path), volume_capability=capability(volume),
            secrets=await self._secrets(volume.stage_secret), volume_context=volume.attributes))
        return path

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
            problem = (status.get("attachError") or {}).get("message", "")
            raise CsiVolumeError(f"volume attachment {name} is not attached yet" + (f": {problem}" if problem else ""))
        return dict(status.get("attachmentMetadata") or {})

    async def _secrets(self, reference: tuple[str, str] | None) -> dict[str, str]:
        if reference is None:
            return {}
        found = await self._client.get(SECRETS, reference[1], reference[0])
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in (found.get("data") or {}).items()}

    def _lock(self, handle: str) -> asyncio.Lock:
        return self._locks.setdefault(handle, asyncio.Lock())


def _pod_info(pod: Object, volume: Volume) -> dict[str, str]:
    metadata = pod["metadata"]
    return {"csi.storage.k8s.io/pod.name": metadata["name"], "csi.storage.k8s.io/pod.namespace": metadata.get("namespace") or "default",
            "csi.storage.k8s.io/pod.uid": metadata["uid"],
            "csi.storage.k8s.io/serviceAccount.name": pod["spec"].get("serviceAccountName") or "",
            "csi.storage.k8s.io/ephemeral": str(volume.ephemeral).lower()}


def _keep(directory: Path, volume: Volume, node: str) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    data = {"attachmentID": attachment_name(volume, node), "driverName": volume.driver, "nodeName": node, "specVolID": volume.name,
            "volumeHandle": volume.handle, "volumeLifecycleMode": "Ephemeral" if volume.ephemeral else "Persistent"}
    (directory / "vol_data.json").write_bytes(orjson.dumps(data))


def _homes(directory: Path) -> list[Path]:
    return [file.parent for file in directory.glob("volumes/kubernetes.io~csi/*/vol_data.json")]
