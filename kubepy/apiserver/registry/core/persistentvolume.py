"""PersistentVolume: a piece of storage (`pkg/registry/core/persistentvolume`).

The moment of the last phase change is recorded; the source and the volume mode are fixed.
"""
from __future__ import annotations

from collections.abc import Callable
from posixpath import normpath

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import PERSISTENT_VOLUMES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.core import podspec_network_volumes as network
from kubepy.apiserver.registry.core.claim_validation import VOLUME_MODES, access_modes_valid
from kubepy.apiserver.registry.core.persistentvolumeclaim import access_modes, storage_class
from kubepy.apiserver.registry.core.podspec_defaults import default_volume
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.core.podspec_volumes import host_path, sources
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


_SOURCES: dict[str, Callable[[Object, Path], Errors]] = {
    "hostPath": host_path, "gcePersistentDisk": network.gce, "awsElasticBlockStore": network.aws, "glusterfs": network.glusterfs_pv,
    "flocker": network.flocker, "nfs": network.nfs, "rbd": network.rbd, "quobyte": network.quobyte, "cephfs": network.cephfs,
    "iscsi": network.iscsi, "cinder": network.cinder_pv, "fc": network.fibre_channel, "flexVolume": network.flex,
    "azureFile": network.azure_file_pv, "vsphereVolume": network.vsphere, "photonPersistentDisk": network.photon,
    "portworxVolume": network.portworx, "azureDisk": network.azure_disk, "scaleIO": network.scale_io, "local": _local,
    "storageos": network.storageos_pv, "csi": network.csi_pv,
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
        return _spec(obj.get("spec") or {}, at(obj, "metadata.name", ""))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = self.validate(context, obj)
        if any(_fixed(new.get(source), before.get(source)) != before.get(source) for source in _SOURCES):
            errors.append(field.forbidden(Path("spec.persistentvolumesource"), "spec.persistentvolumesource is immutable after creation"))
        errors += check.immutable(new.get("volumeMode"), before.get("volumeMode"), Path("volumeMode"))
        if before.get("nodeAffinity") is not None and not _same_affinity(new.get("nodeAffinity"), before["nodeAffinity"]):
            errors.append(field.invalid(Path("nodeAffinity"), _go_affinity(new.get("nodeAffinity")),
                                        "field is immutable, except for updating from beta label to GA"))
        if before.get("volumeAttributesClassName") is not None and new.get("volumeAttributesClassName") is None:
            errors.append(field.forbidden(_SPEC.child("volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
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


_GA_LABELS = {"failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
              "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region", "beta.kubernetes.io/os": "kubernetes.io/os",
              "beta.kubernetes.io/arch": "kubernetes.io/arch", "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type"}


def _fixed(new: Object | None, old: Object | None) -> Object | None:
    """A source with what may still be set of it as it was."""
    if new and old and "driver" in old and old.get("controllerExpandSecretRef") is None:
        return {key: value for key, value in new.items() if key != "controllerExpandSecretRef"}
    return new


def _same_affinity(new: Object | None, old: Object) -> bool:
    """Equal, but for labels that have become generally available under another name."""
    terms, before = at(new, "required.nodeSelectorTerms", []), at(old, "required.nodeSelectorTerms", [])
    if new is None or len(terms) != len(before):
        return False
    for term, was in zip(terms, before, strict=True):
        expressions, had = term.get("matchExpressions") or [], was.get("matchExpressions") or []
        if len(expressions) != len(had) or (term.get("matchFields") or []) != (was.get("matchFields") or []):
            return False
        if any(item != one and {**one, "key": _GA_LABELS.get(one.get("key", ""))} != item
               for item, one in zip(expressions, had, strict=True)):
            return False
    return True


def _spec(spec: Object, title: str) -> Errors:
    modes = spec.get("accessModes") or []
    errors = access_modes_valid(modes, _SPEC.child("accessModes")) if modes else [field.required(_SPEC.child("accessModes"))]
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(field.required(_SPEC.child("capacity")))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(field.not_supported(_SPEC.child("capacity"), capacity, ("storage",)))
    for resource, value in sorted(capacity.items()):
        errors += check.basic_resource(value, _SPEC.child("capacity").key(resource))
        errors += check.quantity_positive(value, _SPEC.child("capacity").key(resource))
    if spec.get("persistentVolumeReclaimPolicy"):
        errors += check.one_of(spec["persistentVolumeReclaimPolicy"], _SPEC.child("persistentVolumeReclaimPolicy"),
                               ("Delete", "Recycle", "Retain"))
    errors += _affinity(spec)
    errors += _source(spec, title)
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


def _source(spec: Object, title: str) -> Errors:
    def local(source: Object, path: Path) -> Errors:
        errors = _local(source, path)
        if spec.get("nodeAffinity") is None:
            errors.append(field.required(_SPEC.child("nodeAffinity"), "Local volume requires node affinity"))
        return errors

    known = {**_SOURCES, "local": local, "iscsi": lambda source, path: network.iscsi_pv(source, path, title)}
    errors = sources(spec, _SPEC, known)
    if normpath((spec.get("hostPath") or {}).get("path") or ".") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
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
