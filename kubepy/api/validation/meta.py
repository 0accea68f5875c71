"""ObjectMeta on create and update (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`, `core/validation.ValidateObjectMeta`).

Upstream checks metadata several times and repeats what it finds in the causes. On an update of a kind in the usual form the list is
`validate_meta(new, …path_segment, kube=False) + validate_meta_update(new, old, kube=False)` (by the generic store), then the kind's
own `validate_meta_update(new, old)` and, where its update validation calls the one for creation, `validate_meta(new, …)`.
On a create the kind's own `validate_meta` comes first, and the generic one only when that found nothing.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kubepy.api import name as names
from kubepy.api.field import Errors, FieldError, Path, forbidden, invalid, required, too_long
from kubepy.api.selector import validate_labels
from kubepy.api.types import Object

METADATA = Path("metadata")
IMMUTABLE = "field is immutable"
MAX_ANNOTATIONS = 256 * 1024
"""Bytes that all annotations of an object may have together."""
_FIXED_TEXTS = ("name", "namespace", "uid")
_FIXED = (*_FIXED_TEXTS, "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")


def validate_meta(metadata: Object, namespaced: bool, validate_name: names.Validator = names.subdomain, path: Path = METADATA, *,
                  validate_prefix: names.Validator | None = None, kube: bool = True, judged: bool = False) -> Errors:
    """ValidateObjectMeta. `kube` adds the rule for finalizers without a domain, which custom resources do not have.

    `validate_prefix` judges generateName; by default `validate_name` on the prefix with a trailing dash masked.
    `judged`: this metadata was found right before, by any of these functions, so that what all of them look at need not be looked at."""
    errors: Errors = []
    name = metadata.get("name") or ""
    if prefix := metadata.get("generateName"):
        problems = validate_prefix(prefix) if validate_prefix else _prefix_problems(prefix, validate_name)
        errors += [invalid(path.child("generateName"), prefix, why) for why in problems]
    if not name:
        errors.append(required(path.child("name"), "name or generateName is required"))
    else:
        errors += [invalid(path.child("name"), name, why) for why in validate_name(name)]
    namespace = metadata.get("namespace") or ""
    if namespaced:
        if not namespace:
            errors.append(required(path.child("namespace")))
        else:
            errors += [invalid(path.child("namespace"), namespace, why) for why in names.label(namespace)]
    elif namespace:
        errors.append(forbidden(path.child("namespace"), "not allowed on this type"))
    if (generation := metadata.get("generation") or 0) < 0:
        errors.append(invalid(path.child("generation"), generation, "must be greater than or equal to 0"))
    if not judged:
        errors += _validate_common(metadata, path)
    if finalizers := metadata.get("finalizers"):
        errors += _validate_finalizers(finalizers, path.child("finalizers"))
    if not judged:
        errors += _validate_managed_fields(metadata.get("managedFields") or (), path.child("managedFields"))
    return errors + (validate_kube_finalizers(metadata, path) if kube else [])


def validate_meta_update(metadata: Object, old: Object, path: Path = METADATA, *, kube: bool = True, judged: bool = False) -> Errors:
    """ValidateObjectMetaUpdate: what of the metadata may not change. `judged` as above."""
    errors: Errors = []
    if old.get("deletionTimestamp"):
        before = set(old.get("finalizers") or ())
        if extra := sorted({item for item in metadata.get("finalizers") or () if item not in before}):
            shown = "[]string{" + ", ".join(orjson.dumps(item).decode() for item in extra) + "}"
            errors.append(forbidden(path.child("finalizers"),
                                    f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}"))
    if not metadata.get("resourceVersion"):
        errors.append(invalid(path.child("resourceVersion"), "", "must be specified for an update"))
    generation = metadata.get("generation") or 0
    if generation < (old.get("generation") or 0):
        errors.append(invalid(path.child("generation"), generation, "must not be decremented"))
    for field in _FIXED:
        if (value := metadata.get(field)) != old.get(field):
            if field in _FIXED_TEXTS and (value or "") == (old.get(field) or ""):
                continue
            errors.append(invalid(path.child(field), value or "" if field in _FIXED_TEXTS else value, IMMUTABLE))
    if not judged:
        errors += _validate_common(metadata, path)
        errors += _validate_managed_fields(metadata.get("managedFields") or (), path.child("managedFields"))
    return errors + (validate_kube_finalizers(metadata, path) if kube else [])


def validate_annotations(annotations: Mapping[str, str] | None, path: Path) -> Errors:
    """ValidateAnnotations: keys in either case, and the size of all together."""
    errors: Errors = []
    size = 0
    for key, value in (annotations or {}).items():
        errors += [invalid(path, key, why) for why in names.qualified(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATIONS:
        errors.append(too_long(path, MAX_ANNOTATIONS))
    return errors


def _validate_common(metadata: Object, path: Path) -> Errors:
    errors: Errors = []
    if labels := metadata.get("labels"):
        errors += validate_labels(labels, path.child("labels"))
    if annotations := metadata.get("annotations"):
        errors += validate_annotations(annotations, path.child("annotations"))
    if references := metadata.get("ownerReferences"):
        errors += validate_owner_references(references, path.child("ownerReferences"))
    return errors


def validate_owner_references(references: Sequence[Object], path: Path) -> Errors:
    """ValidateOwnerReferences: complete references, no Event among them, one controller at most."""
    errors: Errors = []
    controller: Object | None = None
    for reference in references:
        errors += _validate_owner(reference, path)
        if reference.get("controller"):
            if controller is not None:
                found = " and ".join(f"{item.get('kind', '')}/{item.get('name', '')}" for item in (controller, reference))
                errors.append(_invalid_json(path, [_owner(item) for item in references],
                                            f'Only one reference can have Controller set to true. Found "true" in references for {found}'))
            controller = reference
    return errors


def _validate_owner(reference: Object, path: Path) -> Errors:
    errors: Errors = []
    api_version = reference.get("apiVersion") or ""
    parts = api_version.split("/")
    if not parts[-1] or len(parts) > 2:
        errors.append(invalid(path.child("apiVersion"), api_version, "version must not be empty"))
    errors += [invalid(path.child(field), "", "must not be empty") for field in ("kind", "name", "uid") if not reference.get(field)]
    if api_version == "v1" and reference.get("kind") == "Event":
        errors.append(_invalid_json(path, _owner(reference), "/v1, Kind=Event is disallowed from being an owner"))
    return errors


def _owner(reference: Object) -> Object:
    """The reference with its fields in the order Go shows them."""
    shown: Object = {field: reference.get(field) or "" for field in _OWNER_FIELDS[:4]}
    return shown | {field: reference[field] for field in _OWNER_FIELDS[4:] if reference.get(field) is not None}


def _invalid_json(path: Path, value: Any, detail: str) -> FieldError:
    """A cause whose value is shown in the order its fields are in."""
    return FieldError(str(path), "FieldValueInvalid", f"Invalid value: {orjson.dumps(value).decode()}: {detail}")


def _validate_finalizers(finalizers: Sequence[str], path: Path) -> Errors:
    errors = [invalid(path, item, why) for item in finalizers for why in names.qualified(item)]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        errors.append(invalid(path, list(finalizers), "finalizer orphan and foregroundDeletion cannot be both set"))
    return errors


def validate_kube_finalizers(metadata: Object, path: Path = METADATA) -> Errors:
    """What `kube` adds to the functions above."""
    return [invalid(path.child("finalizers").index(position), item, "name is neither a standard finalizer name nor is it fully qualified")
            for position, item in enumerate(metadata.get("finalizers") or ()) if "/" not in item and item not in _STANDARD_FINALIZERS]


def _validate_managed_fields(entries: Sequence[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, entry in enumerate(entries):
        here = path.index(position)
        if (operation := entry.get("operation") or "") not in ("Apply", "Update"):
            errors.append(invalid(here.child("operation"), operation, "must be `Apply` or `Update`"))
        if (kind := entry.get("fieldsType") or "") and kind != "FieldsV1":
            errors.append(invalid(here.child("fieldsType"), kind, "must be `FieldsV1`"))
        errors += validate_field_manager(entry.get("manager") or "", here.child("manager"))
        if len((entry.get("subresource") or "").encode()) > 256:
            errors.append(too_long(here.child("subresource"), 256))
    return errors


def validate_field_manager(manager: str, path: Path) -> Errors:
    """ValidateFieldManager: at most 128 bytes, all printable."""
    if len(manager.encode()) > 128:
        return [too_long(path, 128)]
    if manager.isprintable():
        return []
    for position, char in enumerate(manager):
        if not char.isprintable():
            return [invalid(path, manager, f"invalid character U+{ord(char):04X} (at position {position})")]
    return []


def _prefix_problems(prefix: str, validate_name: names.Validator) -> list[str]:
    if validate_name is names.path_segment:
        return names.path_segment_prefix(prefix)
    return validate_name(names.mask_trailing_dash(prefix))
