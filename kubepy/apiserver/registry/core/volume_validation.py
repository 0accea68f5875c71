"""Validation of a persistent volume's spec, in PersistentVolumes and inline in VolumeAttachments (`ValidatePersistentVolumeSpec`)."""
from __future__ import annotations

from collections.abc import Callable
from posixpath import normpath

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core import podspec_network_volumes as network
from kubepy.apiserver.registry.core.claim_validation import VOLUME_MODES, access_modes_valid
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.core.podspec_volumes import host_path, sources

_NOT_INLINE = "may not be specified in the context of inline volumes"


def _local(source: Object, path: Path) -> Errors:
    if not source.get("path"):
        return [field.required(path.child("path"))]
    return check.no_backsteps(source["path"], path.child("path"))


SOURCES: dict[str, Callable[[Object, Path], Errors]] = {
    "hostPath": host_path, "gcePersistentDisk": network.gce, "awsElasticBlockStore": network.aws, "glusterfs": network.glusterfs_pv,
    "flocker": network.flocker, "nfs": network.nfs, "rbd": network.rbd, "quobyte": network.quobyte, "cephfs": network.cephfs,
    "iscsi": network.iscsi, "cinder": network.cinder_pv, "fc": network.fibre_channel, "flexVolume": network.flex,
    "azureFile": network.azure_file_pv, "vsphereVolume": network.vsphere, "photonPersistentDisk": network.photon,
    "portworxVolume": network.portworx, "azureDisk": network.azure_disk, "scaleIO": network.scale_io, "local": _local,
    "storageos": network.storageos_pv, "csi": network.csi_pv,
}


def volume_spec(spec: Object, title: str, path: Path) -> Errors:
    """The spec of the volume of that name."""
    errors = _modes(spec, path)
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(field.required(path.child("capacity")))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(field.not_supported(path.child("capacity"), capacity, ("storage",)))
    for resource, value in sorted(capacity.items()):
        errors += check.basic_resource(value, path.child("capacity").key(resource))
        errors += check.quantity_positive(value, path.child("capacity").key(resource))
    if spec.get("persistentVolumeReclaimPolicy"):
        errors += check.one_of(spec["persistentVolumeReclaimPolicy"], path.child("persistentVolumeReclaimPolicy"),
                               ("Delete", "Recycle", "Retain"))
    errors += _affinity(spec, path.child("nodeAffinity"))
    errors += _source(spec, title, path)
    if spec.get("storageClassName"):
        errors += check.named(name.subdomain, spec["storageClassName"], path.child("storageClassName"))
    if spec.get("volumeMode") is not None:
        errors += check.one_of(spec["volumeMode"], path.child("volumeMode"), VOLUME_MODES)
    return errors + _attributes_class(spec, path)


def inline_volume_spec(spec: Object, path: Path) -> Errors:
    """The spec of a volume that is no object of its own: only CSI, and nothing that a claim or scheduler would look at."""
    errors = [field.forbidden(path.child(key), _NOT_INLINE) for key in ("claimRef", "capacity") if spec.get(key)]
    if spec.get("csi") is None:
        errors.append(field.required(path.child("csi"), "has to be specified in the context of inline volumes"))
    errors += _modes(spec, path)
    if spec.get("persistentVolumeReclaimPolicy", "") not in ("", "Retain"):
        errors.append(field.forbidden(path.child("persistentVolumeReclaimPolicy"), "may only be Retain in the context of inline volumes"))
    if spec.get("nodeAffinity") is not None:
        errors.append(field.forbidden(path.child("nodeAffinity"), _NOT_INLINE))
    errors += _source(spec, "", path)
    if spec.get("storageClassName"):
        errors.append(field.forbidden(path.child("storageClassName"), _NOT_INLINE))
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        errors.append(field.forbidden(path.child("volumeMode"),
                                      "may not specify volumeMode other than Filesystem in the context of inline volumes"))
    return errors


def _modes(spec: Object, path: Path) -> Errors:
    modes, at = spec.get("accessModes") or [], path.child("accessModes")
    return access_modes_valid(modes, at) if modes else [field.required(at)]


def _affinity(spec: Object, path: Path) -> Errors:
    affinity = spec.get("nodeAffinity")
    if affinity is None:
        return []
    if affinity.get("required") is None:
        return [field.required(path.child("required"), "must specify required node constraints")]
    return node_selector(affinity["required"], path.child("required"))


def _source(spec: Object, title: str, path: Path) -> Errors:
    def local(source: Object, at: Path) -> Errors:
        errors = _local(source, at)
        if spec.get("nodeAffinity") is None:
            errors.append(field.required(path.child("nodeAffinity"), "Local volume requires node affinity"))
        return errors

    known = {**SOURCES, "local": local, "iscsi": lambda source, at: network.iscsi_pv(source, at, title)}
    errors = sources(spec, path, known)
    if normpath((spec.get("hostPath") or {}).get("path") or ".") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        errors.append(field.forbidden(path.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
    return errors


def _attributes_class(spec: Object, path: Path) -> Errors:
    title, at = spec.get("volumeAttributesClassName"), path.child("volumeAttributesClassName")
    if title is None:
        return []
    errors = check.named(name.subdomain, title, at) if title else [field.required(at, "an empty string is disallowed")]
    if spec.get("csi") is None:
        errors.append(field.required(path.child("csi"), "has to be specified when using volumeAttributesClassName"))
    return errors
