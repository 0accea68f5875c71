"""PersistentVolumeClaim: a request for storage (`pkg/registry/core/persistentvolumeclaim`).

`dataSource` and `dataSourceRef` are kept alike; a bound claim may grow, all else of the spec is fixed.
"""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS
from kubepy.api.schema.equal import equal
from kubepy.api.schema.shape import struct
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.core.claim_validation import claim_spec
from kubepy.apiserver.registry.core.podspec_defaults import default_claim_spec
from kubepy.apiserver.registry.core.podspec_resources import amount, is_native, resource_value
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_RESIZE_STATES = ("ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
                  "NodeResizePending")
_FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


class PersistentVolumeClaimStrategy(Strategy):
    has_status = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        default_claim_spec(obj["spec"])
        obj.setdefault("status", {}).setdefault("phase", "Pending")

    def prepare_create(self, context: Context, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}
        _align_sources(obj["spec"])

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["status"] = old.get("status") or {}
        _align_sources(obj["spec"])

    def validate(self, context: Context, obj: Object) -> Errors:
        return claim_spec(obj.get("spec") or {}, _SPEC)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj) + _changes(obj, old)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status, path = obj.get("status") or {}, Path("status")
        errors: Errors = []
        for resource, value in sorted((status.get("capacity") or {}).items()):
            errors += check.basic_resource(value, path.child("capacity").key(resource))
        for resource, state in sorted((status.get("allocatedResourceStatuses") or {}).items()):
            errors += _resource(resource, path.child("allocatedResourceStatuses"))
            if state not in _RESIZE_STATES:
                errors.append(field.not_supported(path.child("allocatedResourceStatuses"), resource, _RESIZE_STATES))
        for resource, value in sorted((status.get("allocatedResources") or {}).items()):
            here = path.child("allocatedResources")
            errors += _resource(resource, here) or check.basic_resource(value, here.key(resource)) \
                or resource_value("storage", value, here.key(resource))
        return errors

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = []
        if _CLASS_ANNOTATION in at(obj, "metadata.annotations", {}):
            found.append(f'metadata.annotations[{_CLASS_ANNOTATION}]: deprecated since v1.8; use "storageClassName" attribute instead')
        storage = at(obj, "spec.resources.requests", {}).get("storage")
        if storage is not None and amount(storage).milli_value() % 1000:
            found.append(f'spec.resources.requests[storage]: fractional byte value "{storage}" is invalid, must be an integer')
        return found


def _resource(title: str, path: Path) -> Errors:
    """validatePersistentVolumeClaimResourceKey: of the native resources only storage."""
    errors = check.named(name.qualified, title, path)
    if not errors and is_native(title) and title != "storage":
        errors.append(field.not_supported(path, title, ("storage",)))
    return errors


def _align_sources(spec: Object) -> None:
    """dataSource and dataSourceRef say the same; a dataSource of a kind that is not known is dropped."""
    if (spec.get("dataSourceRef") or {}).get("namespace"):
        del spec["dataSourceRef"]  # CrossNamespaceVolumeDataSource is off
    source = spec.get("dataSource")
    if source is not None:
        known = (source.get("kind") == "PersistentVolumeClaim" and not source.get("apiGroup")) or \
            (source.get("kind") == "VolumeSnapshot" and source.get("apiGroup") == "snapshot.storage.k8s.io")
        if not known and spec.get("dataSourceRef") is None:
            del spec["dataSource"]
            source = None
    reference = spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = {"apiGroup": source.get("apiGroup"), **{key: source[key] for key in ("kind", "name") if key in source}}
    elif reference is not None and source is None:
        spec["dataSource"] = {"apiGroup": reference.get("apiGroup"),
                              **{key: reference[key] for key in ("kind", "name") if key in reference}}


def _changes(obj: Object, old: Object) -> Errors:
    """What may change of a claim: its volume and class once, and of a bound one the size and the attributes' class."""
    new, before = dict(obj.get("spec") or {}), dict(old.get("spec") or {})
    errors: Errors = []
    _copy(before if not before.get("volumeName") else {}, new, "volumeName")
    annotation, had_annotation = (at(item, "metadata.annotations", {}).get(_CLASS_ANNOTATION) for item in (obj, old))
    wanted, had = new.get("storageClassName"), before.get("storageClassName")
    moved = had_annotation is not None and had is None and wanted == had_annotation and annotation in (None, had_annotation)
    if not moved and (annotation or "") != (had_annotation or ""):
        errors.append(field.invalid(Path("metadata.annotations").child(_CLASS_ANNOTATION), annotation or "", check.IMMUTABLE))
    if had is None and wanted is not None and had_annotation in (None, wanted):
        del new["storageClassName"]
    size, old_size = (at(item, "resources.requests", {}).get("storage") for item in (new, before))
    if at(old, "status.phase") == "Bound":
        if size is not None:
            new["resources"] = {**new["resources"], "requests": {**new["resources"]["requests"], "storage": old_size}}
        if new.get("volumeAttributesClassName") is not None:
            _copy(new, before, "volumeAttributesClassName")
    if not equal(struct("io.k8s.api.core.v1.PersistentVolumeClaimSpec"), new, before):
        errors.append(field.forbidden(_SPEC, _FIXED))
    if amount(size or 0) < amount(old_size or 0) and amount(size or 0) <= amount(at(old, "status.capacity", {}).get("storage") or 0):
        errors.append(field.forbidden(_SPEC.child("resources", "requests", "storage"), "field can not be less than status.capacity"))
    errors += check.immutable(new.get("volumeMode"), before.get("volumeMode"), Path("volumeMode"))
    return errors + _attributes_class((obj.get("spec") or {}).get("volumeAttributesClassName"),
                                      (old.get("spec") or {}).get("volumeAttributesClassName"))


def _copy(target: Object, source: Object, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _attributes_class(new: str | None, old: str | None) -> Errors:
    path = _SPEC.child("volumeAttributesClassName")
    if old is not None and new is None:
        return [field.forbidden(path, "update from non-nil value to nil is forbidden")]
    if old is not None and not new and old != new:
        return [field.forbidden(path, "update from non-nil value to an empty string is forbidden")]
    return []


def access_modes(modes: list[str]) -> str:
    """The modes, shortened, each once and in the usual order."""
    return ",".join(short for mode, short in _MODES_SHOWN if mode in modes)


_MODES_SHOWN = (("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP"))


def storage_class(obj: Object) -> str:
    annotation = at(obj, "metadata.annotations", {}).get(_CLASS_ANNOTATION)
    return str(annotation if annotation is not None else at(obj, "spec.storageClassName", ""))


def _status(obj: Object) -> str:
    return "Terminating" if at(obj, "metadata.deletionTimestamp") else at(obj, "status.phase", "")


def _capacity(obj: Object) -> str:
    return str(at(obj, "status.capacity", {}).get("storage", "0")) if at(obj, "spec.volumeName") else ""


def _modes(obj: Object) -> str:
    return access_modes(at(obj, "status.accessModes", [])) if at(obj, "spec.volumeName") else ""


KIND = Kind(
    PERSISTENT_VOLUME_CLAIMS,
    "persistentvolumeclaim",
    PersistentVolumeClaimStrategy(),
    columns=(
        NAME,
        column("Status", "string", "=core.v1.PersistentVolumeClaimStatus.phase", _status),
        column("Volume", "string", "=core.v1.PersistentVolumeClaimSpec.volumeName", lambda obj: at(obj, "spec.volumeName", "")),
        column("Capacity", "string", "=core.v1.PersistentVolumeClaimStatus.capacity", _capacity),
        column("Access Modes", "string", "=core.v1.PersistentVolumeClaimStatus.accessModes", _modes),
        column("StorageClass", "string", "StorageClass of the pvc", storage_class),
        column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc",
               lambda obj: at(obj, "spec.volumeAttributesClassName", UNSET)),
        AGE,
        column("VolumeMode", "string", "=core.v1.PersistentVolumeClaimSpec.volumeMode", lambda obj: at(obj, "spec.volumeMode", UNSET), 1),
    ),
    short_names=("pvc",),
    subresources=(STATUS,),
)
