"""A container's mounts: its volumes, subpaths, /etc/hosts and its termination message."""
from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from kubepy.api.types import Object
from kubepy.kubelet.container.config import DEFAULT_TERMINATION_PATH
from kubepy.kubelet.container.env import expand
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.volume.subpath import SubPathError, prepare_subpath

_PROPAGATION = {"HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER, "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL}


class MountError(Exception):
    """A mount that cannot be made; the message is upstream's for CreateContainerConfigError."""


def container_mounts(pod: Object, container: Object, volumes: Mapping[str, Path], directory: Path, env: Mapping[str, str], *,
                     hosts: str | None, image_refs: Mapping[str, str], recursive: bool = False) -> list[pb.Mount]:
    """The runtime's mounts. `directory` is the pod's, `hosts` the content of its /etc/hosts (None: none is managed),
    `image_refs` the pulled reference of each image volume, `recursive` whether the runtime can make what lies below read-only too."""
    result = []
    own_hosts = False
    for index, entry in enumerate(container.get("volumeMounts") or ()):
        name, target = entry["name"], entry["mountPath"]
        own_hosts = own_hosts or target == "/etc/hosts"
        if not target.startswith("/"):
            target = f"/{target}"
        subpath = entry.get("subPath") or ""
        if entry.get("subPathExpr"):
            subpath = expand(entry["subPathExpr"], env)
            if "$(" in subpath:
                raise MountError(f"missing value for {entry['subPathExpr']!r}")
        if name in image_refs:
            image = pb.ImageSpec(image=image_refs[name])
            result.append(pb.Mount(container_path=target, image=image, image_sub_path=subpath, readonly=True))
            continue
        if name not in volumes:
            raise MountError(f"cannot find volume \"{name}\" to mount into container \"{container['name']}\"")
        source = volumes[name]
        if subpath:
            point = directory / "volume-subpaths" / name / container["name"] / str(index)
            try:
                source = prepare_subpath(source, subpath, point)
            except (SubPathError, OSError) as error:
                where = f'volumeMount "{name}" of container "{container["name"]}"'
                raise MountError(f"failed to prepare subPath for {where}: {error}") from error
        read_only = bool(entry.get("readOnly")) or _content_volume(pod, name)
        if entry.get("recursiveReadOnly") == "Enabled" and not recursive:
            raise MountError(f'failed to resolve recursive read-only mode: volume "{name}" requested recursive read-only mode, but it is '
                             'not supported by the runtime')
        result.append(pb.Mount(
            container_path=target, host_path=str(source), readonly=read_only,
            propagation=_PROPAGATION.get(entry.get("mountPropagation") or "", pb.PROPAGATION_PRIVATE),
            recursive_read_only=entry.get("recursiveReadOnly") in ("Enabled", "IfPossible") and recursive))
    if hosts is not None and not own_hosts:
        path = directory / "etc-hosts"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hosts)
        path.chmod(0o644)
        result.append(pb.Mount(container_path="/etc/hosts", host_path=str(path),
                               readonly=False))
    folder = directory / "containers" / container["name"]
    folder.mkdir(parents=True, exist_ok=True)
    message = folder / secrets.token_hex(4)
    message.touch()
    message.chmod(0o666)  # the container may run as anyone
    result.append(pb.Mount(container_path=container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH, host_path=str(message)))
    return result


def container_devices(pod: Object, container: Object, volumes: Mapping[str, Path]) -> list[pb.Device]:
    """Raw block volumes as devices. Raises MountError."""
    found = []
    for entry in container.get("volumeDevices") or ():
        source = volumes.get(entry["name"])
        if source is None:
            raise MountError(f"cannot find volume \"{entry['name']}\" to pass into container \"{container['name']}\"")
        path = os.path.realpath(source)
        if not stat.S_ISBLK(os.stat(path).st_mode):
            raise MountError(f"volume \"{entry['name']}\" of container \"{container['name']}\" is not a block device: {path}")
        read_only = any((volume.get("persistentVolumeClaim") or {}).get("readOnly") for volume in pod["spec"].get("volumes") or ()
                        if volume["name"] == entry["name"])
        found.append(pb.Device(host_path=path, container_path=entry["devicePath"], permissions="r" if read_only else "mrw"))
    return found


def _content_volume(pod: Object, name: str) -> bool:
    """configMap, secret, downwardAPI and projected volumes are always read-only."""
    volume: Object = next((entry for entry in pod["spec"].get("volumes") or () if entry["name"] == name), {})
    return any(key in volume for key in ("configMap", "secret", "downwardAPI", "projected"))


def image_volumes(pod: Object, container: Object) -> list[Object]:
    used = {entry["name"] for entry in container.get("volumeMounts") or ()}
    return [volume for volume in pod["spec"].get("volumes") or () if "image" in volume and volume["name"] in used]


def needs(container: Object) -> list[tuple[str, str]]:
    """The ConfigMaps and Secrets a container's environment refers to, as (kind, name)."""
    found = []
    for source in container.get("envFrom") or ():
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if source.get(key):
                found.append((kind, source[key]["name"]))
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if origin.get(key):
                found.append((kind, origin[key]["name"]))
    return found


