"""PersistentVolume: a piece of storage (`pkg/registry/core/persistentvolume`).

The moment of the last phase change is recorded; the source and the volume mode are fixed.
"""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import PERSISTENT_VOLUMES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.core import podspec_network_volumes as network
from kubepy.apiserver.registry.core.claim_validation import ACCESS_MODES, VOLUME_MODES
from kubepy.apiserver.registry.core.persistentvolumeclaim import access_modes, storage_class
from kubepy.apiserver.registry.core.podspec_defaults import default_volume
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.core.podspec_volumes import host_path
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_DEPRECATED = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def _local(source: Object, path: Path) -> Errors:
    if not source.get("path"):
        return [field.required(path.child("path"))]
    return check.no_backsteps(source["path"], path.child("path"))


def _csi(source: Object, path: Path) -> Errors:
    errors = network.csi_driver_name(source.get("driver", ""), path.child("driver"))
    errors += check.need(source.get("volumeHandle"), path.child("volumeHandle"))
    for key in ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"):
        if (secret := source.get(key)) is not None:
            errors += [field.required(path.child(key, part)) for part in ("name", "namespace") if not secret.get(part)]
    return errors


_SOURCES: dict[str, Callable[[Object, Path], Errors]] = {
    "hostPath": host_path, "gcePersistentDisk": network.gce, "awsElasticBlockStore": network.aws, "glusterfs": network.glusterfs,
    "flocker": network.flocker, "nfs": network.nfs, "rbd": network.rbd, "quobyte": network.quobyte, "cephfs": network.cephfs,
    "iscsi": network.iscsi, "cinder": network.cinder, "fc": network.fibre_channel, "flexVolume": network.flex,
    "azureFile": network.azure_file, "vsphereVolume": network.vsphere, "photonPersistentDisk": network.photon,
    "portworxVolume": network.portworx, "azureDisk": network.azure_disk, "scaleIO": network.scale_io, "local": _local,
    "storageos": network.storageos, "csi": _csi,
}


class PersistentVolumeStrategy(Strategy):
    updates_whole = True
    rechecks_metadata = False
    has_status = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
        spec.setdefault("volumeMode", "Filesystem")
        for source in _SOURCES:
            if source in spec:
                default_volume({source: spec[source]})
        obj.setdefault("status", {}).setdefault("phase", "Pending")

    def prepare_create(self, context: Context, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": now_text()}

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["status"] = old.get("status") or {}

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None:
        obj["spec"] = old.get("spec") or {}
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        was, now = before.get("lastPhaseTransitionTime"), status.get("lastPhaseTransitionTime")
        if status.get("phase") != before.get("phase"):
            if now is None or now == was:
                status["lastPhaseTransitionTime"] = now_text()
        elif now is None and was is not None:
            status["lastPhaseTransitionTime"] = was

    def validate(self, context: Context, obj: Object) -> Errors:
        return _spec(obj.get("spec") or {})

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = self.validate(context, obj)
        if any(new.get(source) != before.get(source) for source in _SOURCES):
            errors.append(field.forbidden(Path("spec.persistentvolumesource"), "spec.persistentvolumesource is immutable after creation"))
        errors += check.immutable(new.get("volumeMode"), before.get("volumeMode"), Path("volumeMode"))
        if before.get("nodeAffinity") is not None and new.get("nodeAffinity") != before["nodeAffinity"]:
            errors.append(field.invalid(Path("nodeAffinity"), _go_affinity(new.get("nodeAffinity")),
                                        "field is immutable, except for updating from beta label to GA"))
        return errors

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        found = [f"spec.{'storageOS' if source == 'storageos' else source}: {why}" for source, why in _DEPRECATED.items() if source in spec]
        annotation = "volume.beta.kubernetes.io/storage-class"
        if annotation in at(obj, "metadata.annotations", {}):
            found.insert(0, f'metadata.annotations[{annotation}]: deprecated since v1.8; use "storageClassName" attribute instead')
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            found.append("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
                         "approach is to use dynamic provisioning.")
        return found


def _spec(spec: Object) -> Errors:
    errors: Errors = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(field.required(_SPEC.child("accessModes")))
    for mode in modes:
        errors += check.one_of(mode, _SPEC.child("accessModes"), ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        errors.append(field.forbidden(_SPEC.child("accessModes"), "may not use ReadWriteOncePod with other access modes"))
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(field.required(_SPEC.child("capacity")))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(field.not_supported(_SPEC.child("capacity"), capacity, ("storage",)))
    for resource, value in sorted(capacity.items()):
        errors += check.quantity_positive(value, _SPEC.child("capacity").key(resource))
    if spec.get("persistentVolumeReclaimPolicy"):
        errors += check.one_of(spec["persistentVolumeReclaimPolicy"], _SPEC.child("persistentVolumeReclaimPolicy"),
                               ("Delete", "Recycle", "Retain"))
    errors += _affinity(spec)
    errors += _source(spec)
    if spec.get("storageClassName"):
        errors += check.named(name.subdomain, spec["storageClassName"], _SPEC.child("storageClassName"))
    if spec.get("volumeMode") is not None:
        errors += check.one_of(spec["volumeMode"], _SPEC.child("volumeMode"), VOLUME_MODES)
    return errors + _attributes_class(spec)


def _affinity(spec: Object) -> Errors:
    affinity = spec.get("nodeAffinity")
    path = _SPEC.child("nodeAffinity")
    if affinity is None:
        return []
    if affinity.get("required") is None:
        return [field.required(path.child("required"), "must specify required node constraints")]
    return node_selector(affinity["required"], path.child("required"))


def _attributes_class(spec: Object) -> Errors:
    title, path = spec.get("volumeAttributesClassName"), _SPEC.child("volumeAttributesClassName")
    if title is None:
        return []
    errors = check.named(name.subdomain, title, path) if title else [field.required(path, "an empty string is disallowed")]
    if spec.get("csi") is None:
        errors.append(field.required(_SPEC.child("csi"), "has to be specified when using volumeAttributesClassName"))
    return errors


def _source(spec: Object) -> Errors:
    errors: Errors = []
    given = [source for source in _SOURCES if spec.get(source) is not None]
    for source in given[1:]:
        errors.append(field.forbidden(_SPEC.child(source), "may not specify more than 1 volume type"))
    if given:
        errors += _SOURCES[given[0]](spec[given[0]], _SPEC.child(given[0]))
    else:
        errors.append(field.required(_SPEC, "must specify a volume type"))
    if "local" in given and spec.get("nodeAffinity") is None:
        errors.append(field.required(Path("metadata.annotations"), "Local volume requires node affinity"))
    if spec.get("hostPath", {}).get("path") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        errors.append(field.forbidden(_SPEC.child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
    return errors


def _go_affinity(affinity: Object | None) -> Object | None:
    if affinity is None:
        return None
    terms = [field.Struct(MatchExpressions=[field.Struct(Key=item.get("key", ""), Operator=item.get("operator", ""),
                                                         Values=item.get("values"))
                                            for item in term.get("matchExpressions") or ()] or None,
                          MatchFields=term.get("matchFields"))
             for term in at(affinity, "required.nodeSelectorTerms", [])]
    return field.Struct(Required=field.Struct(NodeSelectorTerms=terms))


def _claim(obj: Object) -> str:
    claim = at(obj, "spec.claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _status(obj: Object) -> str:
    return "Terminating" if at(obj, "metadata.deletionTimestamp") else at(obj, "status.phase", "")


KIND = Kind(
    PERSISTENT_VOLUMES,
    "persistentvolume",
    PersistentVolumeStrategy(),
    columns=(
        NAME,
        column("Capacity", "string", "=core.v1.PersistentVolumeSpec.capacity",
               lambda obj: at(obj, "spec.capacity", {}).get("storage", "0")),
        column("Access Modes", "string", "=core.v1.PersistentVolumeSpec.accessModes",
               lambda obj: access_modes(at(obj, "spec.accessModes", []))),
        column("Reclaim Policy", "string", "=core.v1.PersistentVolumeSpec.persistentVolumeReclaimPolicy",
               lambda obj: at(obj, "spec.persistentVolumeReclaimPolicy", "")),
        column("Status", "string", "=core.v1.PersistentVolumeStatus.phase", _status),
        column("Claim", "string", "=core.v1.PersistentVolumeSpec.claimRef", _claim),
        column("StorageClass", "string", "StorageClass of the pv", storage_class),
        column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv",
               lambda obj: at(obj, "spec.volumeAttributesClassName", UNSET)),
        column("Reason", "string", "=core.v1.PersistentVolumeStatus.reason", lambda obj: at(obj, "status.reason", "")),
        AGE,
        column("VolumeMode", "string", "=core.v1.PersistentVolumeSpec.volumeMode", lambda obj: at(obj, "spec.volumeMode", UNSET), 1),
    ),
    short_names=("pv",),
    subresources=(STATUS,),
)
