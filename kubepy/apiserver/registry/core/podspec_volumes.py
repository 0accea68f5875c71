"""Validation of a pod's volumes: names, one source each, and what each source requires.

Network volumes are in `podspec_network_volumes`, projected ones and claims in `podspec_projected_volumes`.
"""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core import podspec_network_volumes as network
from kubepy.apiserver.registry.core import podspec_projected_volumes as projected
from kubepy.apiserver.registry.core.podspec_env import FIELDS_OF_VOLUMES, field_reference, resource_reference

_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_BLAMED = {"gcePersistentDisk": "persistentDisk"}
"""What upstream calls a source whose content is wrong, where that is not its name."""
_REFUSED = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""What upstream calls a source that is one too many, where that is not its name."""


def volumes(items: list[Object], path: Path, pod_name: str | None) -> tuple[dict[str, Object], Errors]:
    """ValidateVolumes: the valid ones by name, and the errors. `pod_name` is known for Pods only."""
    errors: Errors = []
    valid: dict[str, Object] = {}
    made = {f"{pod_name}-{volume.get('name', '')}" for volume in items if pod_name and volume.get("ephemeral") is not None}
    for position, volume in enumerate(items):
        at = path.index(position)
        found = _source(volume, at, pod_name)
        title = volume.get("name", "")
        if not title:
            found.append(field.required(at.child("name")))
        else:
            found += check.named(name.label, title, at.child("name"))
            if title in valid:
                found.append(field.duplicate(at.child("name"), title))
        if not found:
            valid[title] = volume
        errors += found
        if (claim := (volume.get("persistentVolumeClaim") or {}).get("claimName")) in made:
            errors.append(field.invalid(at.child("persistentVolumeClaim", "claimName"), claim,
                                        "must not reference a PVC that gets created for an ephemeral volume"))
    return valid, errors


def _source(volume: Object, path: Path, pod_name: str | None) -> Errors:
    """One volume: at most one source, and that a good one."""
    title = volume.get("name", "")
    errors = sources(volume, path, _SOURCES if pod_name is not None else _TEMPLATE_SOURCES)
    if volume.get("iscsi") is not None:
        errors += network.iscsi_name_length(volume["iscsi"], title, path)
    if volume.get("ephemeral") is not None and pod_name and title:
        claim = f"{pod_name}-{title}"
        errors += [field.invalid(path.child("name"), title, f'PVC name "{claim}": {message}') for message in name.subdomain(claim)]
    return errors


def sources(holder: Object, path: Path, known: dict[str, Callable[[Object, Path], Errors]]) -> Errors:
    """The sources of a volume, in upstream's order: the first counts, another one is refused, none is an error."""
    errors: Errors = []
    count = 0
    for source, validate in known.items():
        value = holder.get(source)
        if value is None:
            continue
        if count:
            errors.append(field.forbidden(path.child(_REFUSED.get(source, source)), "may not specify more than 1 volume type"))
            continue
        count += 1
        errors += validate(value, path.child(_BLAMED.get(source, source)))
    if not count:
        errors.append(field.required(path, "must specify a volume type"))
    return errors


def _empty_dir(source: Object, path: Path) -> Errors:
    if source.get("sizeLimit") is not None and check.sign(source["sizeLimit"]) < 0:
        return [field.forbidden(path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity")]
    return []


def host_path(source: Object, path: Path) -> Errors:
    if not source.get("path"):
        return [field.required(path.child("path"))]
    errors = check.no_backsteps(source["path"], path.child("path"))
    if source.get("type") is not None:
        errors += check.one_of(source["type"], path.child("type"), _HOST_PATH_TYPES)
    return errors


def _git_repo(source: Object, path: Path) -> Errors:
    errors = check.need(source.get("repository"), path.child("repository"))
    return errors + check.descending_path(source.get("directory", ""), path.child("directory"))


def _secret(source: Object, path: Path) -> Errors:
    errors = check.need(source.get("secretName"), path.child("secretName"))
    return errors + _modes_and_items(source, path)


def _config_map(source: Object, path: Path) -> Errors:
    errors = check.need(source.get("name"), path.child("name"))
    return errors + _modes_and_items(source, path)


def _modes_and_items(source: Object, path: Path) -> Errors:
    errors = check.file_mode(source.get("defaultMode"), path.child("defaultMode"))
    for position, item in enumerate(source.get("items") or ()):
        errors += projected.key_to_path(item, path.child("items").index(position))
    return errors


def _claim(source: Object, path: Path) -> Errors:
    return check.need(source.get("claimName"), path.child("claimName"))


def _downward_api(source: Object, path: Path) -> Errors:
    errors = check.file_mode(source.get("defaultMode"), path.child("defaultMode"))
    for item in source.get("items") or ():
        errors += downward_file(item, path)
    return errors


def downward_file(item: Object, path: Path) -> Errors:
    """validateDownwardAPIVolumeFile; upstream reports at the volume, not at the item."""
    errors = check.need(item.get("path"), path.child("path"))
    errors += check.non_reserved_path(item.get("path", ""), path.child("path"))
    if item.get("fieldRef") is not None:
        errors += field_reference(item["fieldRef"], FIELDS_OF_VOLUMES, path.child("fieldRef"))
        if item.get("resourceFieldRef") is not None:
            errors.append(field.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
    elif item.get("resourceFieldRef") is not None:
        errors += resource_reference(item["resourceFieldRef"], path.child("resourceFieldRef"), volume=True)
    else:
        errors.append(field.required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + check.file_mode(item.get("mode"), path.child("mode"))


def _image(source: Object, path: Path) -> Errors:
    return check.need(source.get("reference"), path.child("reference")) + _template_image(source, path)


def _template_image(source: Object, path: Path) -> Errors:
    """A template may leave the reference to whoever makes the pod."""
    return check.need_one_of(source.get("pullPolicy"), path.child("pullPolicy"), _PULL_POLICIES)


_SOURCES: dict[str, Callable[[Object, Path], Errors]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": network.gce,
    "awsElasticBlockStore": network.aws,
    "secret": _secret,
    "nfs": network.nfs,
    "iscsi": network.iscsi,
    "glusterfs": network.glusterfs,
    "flocker": network.flocker,
    "persistentVolumeClaim": _claim,
    "rbd": network.rbd,
    "cinder": network.cinder,
    "cephfs": network.cephfs,
    "quobyte": network.quobyte,
    "downwardAPI": _downward_api,
    "fc": network.fibre_channel,
    "flexVolume": network.flex,
    "configMap": _config_map,
    "azureFile": network.azure_file,
    "vsphereVolume": network.vsphere,
    "photonPersistentDisk": network.photon,
    "portworxVolume": network.portworx,
    "azureDisk": network.azure_disk,
    "storageos": network.storageos,
    "projected": projected.projected,
    "scaleIO": network.scale_io,
    "csi": network.csi,
    "ephemeral": projected.ephemeral,
    "image": _image,
}
_TEMPLATE_SOURCES = {**_SOURCES, "image": _template_image}
