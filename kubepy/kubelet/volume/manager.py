"""The volumes of pods: made before containers start, refreshed while they run, taken down after they ended.

Directories are upstream's (`<root>/pods/<uid>/volumes/<plugin>/<name>`), so that a node can change from one kubelet to the other.
Volumes of persistent claims are served for host paths, local, NFS and CSI volumes; iSCSI and the like fail with a clear message.
"""
from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from kubepy.api.errors import ApiError
from kubepy.api.scheduling import amount, pod_limits
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.client.interface import Client
from kubepy.kubelet.container.env import Sources
from kubepy.kubelet.csi.spec import inline, persistent
from kubepy.kubelet.csi.volume import CsiVolumeError, CsiVolumes
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.rpc import RpcError
from kubepy.kubelet.settings import Settings
from kubepy.kubelet.volume import mount as mounts
from kubepy.kubelet.volume.bundle import Bundles
from kubepy.kubelet.volume.certificate import PodCertificates
from kubepy.kubelet.volume.claim import bound, finish_growth, grown
from kubepy.kubelet.volume.hostpath import HostPathError, check_host_path
from kubepy.kubelet.volume.objects import Objects
from kubepy.kubelet.volume.ownership import set_group
from kubepy.kubelet.volume.payload import Inputs, PayloadError, payload, references
from kubepy.kubelet.volume.token import Tokens
from kubepy.kubelet.volume.writer import Content, write_atomically

log = get_logger("volume")
_CONTENT = {"configMap": "configmap", "secret": "secret", "downwardAPI": "downward-api", "projected": "projected"}
_UNSUPPORTED = ("iscsi", "fc", "cephfs", "rbd", "glusterfs", "awsElasticBlockStore", "azureDisk", "azureFile", "gcePersistentDisk",
                "vsphereVolume", "portworxVolume", "scaleIO", "storageos", "quobyte", "flexVolume", "flocker", "cinder",
                "photonPersistentDisk", "gitRepo")


class VolumeError(Exception):
    """A volume that is not there yet; the message is the FailedMount event's."""


class Volumes:
    """All pods' volumes on this node."""

    def __init__(self, settings: Settings, client: Client, objects: Objects, tokens: Tokens,
                 sources: Callable[[Object], Sources],
                 csi: CsiVolumes, events: Recorder, bundles: Bundles, certificates: PodCertificates) -> None:
        self._settings = settings
        self._client = client
        self._objects = objects
        self._tokens = tokens
        self._sources = sources
        self._csi = csi
        self._events = events
        self._bundles = bundles
        self._certificates = certificates
        self._paths: dict[str, dict[str, Path]] = {}

    def directory(self, uid: str) -> Path:
        return self._settings.pods_dir / uid

    async def mount(self, pod: Object) -> dict[str, Path]:
        """Makes or refreshes every volume of the pod; returns where each is. Raises VolumeError for the first that cannot be."""
        spec = pod["spec"]
        used = {entry["name"] for container in podspec.every_container(pod)
                for key in ("volumeMounts", "volumeDevices") for entry in container.get(key) or ()}
        paths: dict[str, Path] = {}
        for volume in spec.get("volumes") or ():
            name = volume["name"]
            if name not in used or "image" in volume:
                continue
            try:
                paths[name] = await self._mount_one(pod, volume)
            except (PayloadError, HostPathError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
            except ApiError as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error.message}') from error
            except (OSError, ValueError, RpcError, CsiVolumeError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
        self._paths[podspec.uid_of(pod)] = paths
        return paths

    def paths(self, uid: str) -> Mapping[str, Path]:
        """Where the pod's volumes were put, by name."""
        return self._paths.get(uid, {})

    def every_path(self) -> list[Path]:
        """Where the volumes of all pods are."""
        return [path for paths in self._paths.values() for path in paths.values()]

    def refreshes(self, pod: Object) -> bool:
        """Whether the pod has volumes whose content may change."""
        return any(key in volume for volume in pod["spec"].get("volumes") or () for key in _CONTENT)

    async def _mount_one(self, pod: Object, volume: Object) -> Path:
        uid = podspec.uid_of(pod)
        for key, plugin in _CONTENT.items():
            if volume.get(key) is not None:
                path = Path(self.directory(uid), "volumes", f"kubernetes.io~{plugin}", volume["name"])
                await self._fill(pod, volume, path, tmpfs=key in ("secret", "projected"))
                return path
        if (source := volume.get("emptyDir")) is not None:
            return self._empty_dir(pod, volume["name"], source)
        if (source := volume.get("hostPath")) is not None:
            given = Path(source["path"])
            check_host_path(given, source.get("type") or "")
            return given
        if (source := volume.get("persistentVolumeClaim")) is not None:
            return await self._claim(pod, volume["name"], source["claimName"], read_only=bool(source.get("readOnly")))
        if (source := volume.get("ephemeral")) is not None:
            return await self._claim(pod, volume["name"], f"{pod['metadata']['name']}-{volume['name']}", read_only=False)
        if (source := volume.get("nfs")) is not None:
            return self._nfs(pod, volume["name"], source)
        if volume.get("csi") is not None:
            return await self._csi.mount(pod, inline(pod, volume))
        kind = next((key for key in _UNSUPPORTED if key in volume), "unknown")
        raise PayloadError(f"volume plugin {kind} is not supported by this kubelet")

    async def _fill(self, pod: Object, volume: Object, path: Path, *, tmpfs: bool) -> None:
        namespace = pod["metadata"].get("namespace") or "default"
        objects = await self._objects.gather(namespace, references(volume), podspec.uid_of(pod))
        tokens: dict[int, str] = {}
        bundles: dict[int, bytes | None] = {}
        certificates: dict[int, tuple[bytes, bytes]] = {}
        for index, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if (entry := source.get("serviceAccountToken")) is not None:
                tokens[id(entry)] = await self._tokens.get(pod, entry)
            if (entry := source.get("clusterTrustBundle")) is not None:
                bundles[id(entry)] = await self._bundles.get(entry)
            if (entry := source.get("podCertificate")) is not None:
                credential = self._certificates.get(pod, volume["name"], index, entry)
                certificates[id(entry)] = credential.key, credential.chain
        files = payload(pod, volume, Inputs(objects, self._sources(pod), lambda entry: tokens[id(entry)], lambda entry: bundles[id(entry)],
                                            lambda entry: certificates[id(entry)]))
        _write(path, files, (pod["spec"].get("securityContext") or {}).get("fsGroup"), tmpfs=tmpfs)

    def _empty_dir(self, pod: Object, name: str, source: Object) -> Path:
        path = self.directory(podspec.uid_of(pod)) / "volumes" / "kubernetes.io~empty-dir" / name
        marker = self.directory(podspec.uid_of(pod)) / "plugins" / "kubernetes.io~empty-dir" / name / "ready"
        medium = source.get("medium") or ""
        if marker.exists() and path.is_dir() and (not medium or mounts.is_mount_point(path)):
            return path
        path.mkdir(parents=True, exist_ok=True)
        if medium == "Memory" and not mounts.is_mount_point(path):
            limit = amount("memory", source["sizeLimit"]) if source.get("sizeLimit") else 0
            memory = pod_limits(pod).get("memory", 0)
            mounts.mount_tmpfs(path, size=min(limit, memory) if limit and memory else limit or memory)
        elif medium.startswith("HugePages") and not mounts.is_mount_point(path):
            mounts.mount_tmpfs(path, hugepage=medium.removeprefix("HugePages-").removeprefix("HugePages").removesuffix("i") or "2M")
        if path.stat().st_mode & 0o777 != 0o777:  # a tmpfs is so already, and keeps its sticky bit
            path.chmod(0o777)
        gid = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if gid is not None:
            set_group(path, gid)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        return path

    async def _claim(self, pod: Object, name: str, claim_name: str, *, read_only: bool) -> Path:
        namespace = pod["metadata"].get("namespace") or "default"
        claim, volume = await bound(self._client, namespace, claim_name)
        spec = volume["spec"]
        gid = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if source := spec.get("hostPath"):
            path = Path(source["path"])
            check_host_path(path, source.get("type") or "DirectoryOrCreate")
        elif source := spec.get("local"):
            path = Path(source["path"])
            if not path.exists():
                raise PayloadError(f'path "{path}" does not exist')
            if gid is not None and not read_only:
                policy = (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
                await asyncio.to_thread(set_group, path, gid, only_if_root_differs=policy == "OnRootMismatch")
        elif source := spec.get("nfs"):
            return self._nfs(pod, name, source)
        elif spec.get("csi"):
            mounted = persistent(volume, read_only=read_only)
            path = await self._csi.mount(pod, mounted)
            if grown(claim, volume) and not mounted.read_only:
                await finish_growth(self._client, self._events, pod, claim, volume, lambda: self._csi.expand(pod, mounted))
            return path
        else:
            kind = next((key for key in _UNSUPPORTED if key in spec), "unknown")
            raise PayloadError(f"volume plugin {kind} is not supported by this kubelet")
        return path

    def _nfs(self, pod: Object, name: str, source: Object) -> Path:
        path = self.directory(podspec.uid_of(pod)) / "volumes" / "kubernetes.io~nfs" / name
        path.mkdir(parents=True, exist_ok=True)
        if not mounts.is_mount_point(path):
            mounts.mount(f"{source['server']}:{source['path']}", str(path), "nfs", 1 if source.get("readOnly") else 0,
                         f"addr={source['server']},vers=4")
        return path

    async def unmount(self, uid: str) -> None:
        """Takes the pod's mounts down and removes its directory. Raises OSError when something will not go."""
        self._paths.pop(uid, None)
        directory = self.directory(uid)
        if not directory.exists():
            return
        await self._csi.unmount(uid)
        for point in mounts.mount_points(f"{directory}/"):
            try:
                mounts.unmount(Path(point))
            except OSError as error:
                log.warning("Unmounting lazily", path=point, err=error)
                mounts.unmount(Path(point), lazy=True)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=False)
        self._tokens.forget(uid)
        self._certificates.forget(uid)


def _write(path: Path, files: Mapping[str, Content], gid: int | None, *, tmpfs: bool) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if tmpfs and not mounts.is_mount_point(path):
        try:
            mounts.mount_tmpfs(path)
        except OSError as error:  # without the right to mount, plain files are better than no pod
            log.v(2).info("Secret content is not on a tmpfs", path=str(path), err=error)
        path.chmod(0o755)
    if not any(path.iterdir()):
        path.chmod(0o777)
    write_atomically(path, files, gid=gid)


def decode_secret(text: str) -> str:
    """A Secret's value as an environment variable."""
    return base64.b64decode(text).decode(errors="replace")
