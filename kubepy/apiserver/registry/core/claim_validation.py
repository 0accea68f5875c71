"""Validation of a persistent volume claim's spec, as claims and ephemeral volumes have it (`ValidatePersistentVolumeClaimSpec`)."""
from __future__ import annotations

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_OF_CORE = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"


def access_modes_valid(modes: list[str], path: Path) -> Errors:
    """The modes of a claim or volume that has some."""
    errors = [error for mode in modes for error in check.one_of(mode, path, ACCESS_MODES)]
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        errors.append(field.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def claim_spec(spec: Object, path: Path) -> Errors:
    modes = spec.get("accessModes") or []
    errors = [] if modes else [field.required(path.child("accessModes"), "at least 1 access mode is required")]
    errors += selector.validate_object(spec.get("selector"), path.child("selector"))
    errors += access_modes_valid(modes, path.child("accessModes"))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = path.child("resources").key("storage")
    if storage is None:
        errors.append(field.required(at))
    else:
        errors += check.quantity_positive(storage, at)
    if spec.get("storageClassName"):
        errors += check.named(name.subdomain, spec["storageClassName"], path.child("storageClassName"))
    if spec.get("volumeMode") is not None:
        errors += check.one_of(spec["volumeMode"], path.child("volumeMode"), VOLUME_MODES)
    errors += _sources(spec, path)
    if spec.get("volumeAttributesClassName"):
        errors += check.named(name.subdomain, spec["volumeAttributesClassName"], path.child("volumeAttributesClassName"))
    return errors


def _sources(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for key, value in (("dataSource", source), ("dataSourceRef", reference)):
        if value is not None:
            errors += _source(value, path.child(key))
            if value.get("namespace") and key == "dataSourceRef":
                errors += check.named(name.label, value["namespace"], path.child(key, "namespace"))
    if reference is not None:
        if reference.get("namespace"):
            if source is not None:
                errors.append(field.invalid(path, {}, "may not be specified when dataSourceRef.namespace is specified"))
        elif source is not None and any((source.get(key) or "") != (reference.get(key) or "") for key in ("apiGroup", "kind", "name")):
            errors.append(field.invalid(path, {}, "must match dataSourceRef"))
    return errors


def _source(source: Object, path: Path) -> Errors:
    errors: Errors = []
    if not source.get("name"):
        errors.append(field.required(path.child("name")))
    if not source.get("kind"):
        errors.append(field.required(path.child("kind")))
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        errors.append(field.invalid(path, source.get("kind", ""), _OF_CORE))
    if group:
        errors += check.named(name.subdomain, group, path.child("apiGroup"))
    return errors
