"""What a CSI volume is to a driver: from a persistent volume, or from the pod itself. Pure, but for `keep`."""
from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import orjson

from kubepy.api.scheduling import amount
from kubepy.api.types import Object
from kubepy.kubelet.csi import csi_pb2 as pb
from kubepy.kubelet.pod import spec as podspec

_MODE = pb.VolumeCapability.AccessMode
_MODES = {"ReadWriteOnce": _MODE.SINGLE_NODE_WRITER, "ReadOnlyMany": _MODE.MULTI_NODE_READER_ONLY,
          "ReadWriteMany": _MODE.MULTI_NODE_MULTI_WRITER, "ReadWriteOncePod": _MODE.SINGLE_NODE_WRITER}


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
    expand_secret: tuple[str, str] | None = None
    block: bool = False
    """A device instead of a file system."""
    size: int = 0
    """Bytes the persistent volume has by now."""


def persistent(volume: Object, *, read_only: bool) -> Volume:
    spec = volume["spec"]
    source = spec["csi"]
    modes = spec.get("accessModes") or ["ReadWriteOnce"]
    mode = next((mode for mode in ("ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany") if mode in modes), modes[0])
    return Volume(volume["metadata"]["name"], source["driver"], source["volumeHandle"], source.get("volumeAttributes") or {},
                  source.get("fsType") or "", mode, tuple(spec.get("mountOptions") or ()), read_only or bool(source.get("readOnly")),
                  stage_secret=_secret(source.get("nodeStageSecretRef")), publish_secret=_secret(source.get("nodePublishSecretRef")),
                  expand_secret=_secret(source.get("nodeExpandSecretRef")), block=spec.get("volumeMode") == "Block",
                  size=amount("storage", (spec.get("capacity") or {}).get("storage", "0")))


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


def capability(volume: Volume, able: Collection[int] = (), group: int | None = None) -> pb.VolumeCapability:
    """`able` are the driver's capabilities; `group` is given to drivers that set it themselves."""
    mode = _MODES.get(volume.mode, _MODE.SINGLE_NODE_WRITER)
    if pb.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER in able and mode == _MODE.SINGLE_NODE_WRITER:
        mode = _MODE.SINGLE_NODE_SINGLE_WRITER if volume.mode == "ReadWriteOncePod" else _MODE.SINGLE_NODE_MULTI_WRITER
    access = pb.VolumeCapability.AccessMode(mode=mode)
    if volume.block:
        return pb.VolumeCapability(block=pb.VolumeCapability.BlockVolume(), access_mode=access)
    mount = pb.VolumeCapability.MountVolume(fs_type=volume.fs_type, mount_flags=volume.mount_flags)
    if group is not None and pb.NodeServiceCapability.RPC.VOLUME_MOUNT_GROUP in able:
        mount.volume_mount_group = str(group)
    return pb.VolumeCapability(mount=mount, access_mode=access)


def gives_group(volume: Volume, policy: str) -> bool:
    """Whether the kubelet changes the volume's group (CSIDriver.spec.fsGroupPolicy)."""
    if volume.read_only or policy == "None":
        return False
    return policy == "File" or (bool(volume.fs_type) and volume.mode in ("ReadWriteOnce", "ReadWriteOncePod"))


def pod_info(pod: Object, volume: Volume) -> dict[str, str]:
    metadata = pod["metadata"]
    return {"csi.storage.k8s.io/pod.name": metadata["name"], "csi.storage.k8s.io/pod.namespace": metadata.get("namespace") or "default",
            "csi.storage.k8s.io/pod.uid": metadata["uid"],
            "csi.storage.k8s.io/serviceAccount.name": pod["spec"].get("serviceAccountName") or "",
            "csi.storage.k8s.io/ephemeral": str(volume.ephemeral).lower()}


def keep(directory: Path, volume: Volume, node: str) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    data = {"attachmentID": attachment_name(volume, node), "driverName": volume.driver, "nodeName": node, "specVolID": volume.name,
            "volumeHandle": volume.handle, "volumeLifecycleMode": "Ephemeral" if volume.ephemeral else "Persistent"}
    (directory / "vol_data.json").write_bytes(orjson.dumps(data))
