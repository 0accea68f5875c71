"""PersistentVolume: a piece of storage (`pkg/registry/core/persistentvolume`).

The moment of the last phase change is recorded; the source and the volume mode are fixed.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import PERSISTENT_VOLUMES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.core.persistentvolumeclaim import access_modes, storage_class
from kubepy.apiserver.registry.core.podspec_defaults import default_volume
from kubepy.apiserver.registry.core.volume_validation import SOURCES, volume_spec
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


class PersistentVolumeStrategy(Strategy):
    updates_whole = True
    rechecks_metadata = False
    has_status = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
        spec.setdefault("volumeMode", "Filesystem")
        for source in SOURCES:
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
        return volume_spec(obj.get("spec") or {}, at(obj, "metadata.name", ""), _SPEC)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = self.validate(context, obj)
        if any(_fixed(new.get(source), before.get(source)) != before.get(source) for source in SOURCES):
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
