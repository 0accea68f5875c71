"""Small pure questions about objects: names, owners, conditions, deletion, finalizers, labels.

Functions that change something return a new object by path copy; objects from a cache are never touched.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubepy.api.types import Object

_EMPTY: Mapping[str, str] = {}


def name_of(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("name") or ""


def namespace_of(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("namespace") or ""


def uid_of(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("uid") or ""


def resource_version(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("resourceVersion") or ""


def key_of(obj: Object) -> str:
    """`namespace/name`, or `name` for cluster-scoped objects: the key of caches and work queues (MetaNamespaceKeyFunc)."""
    metadata = obj.get("metadata") or {}
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata.get('name', '')}" if namespace else metadata.get("name", "")


def make_key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def split_key(key: str) -> tuple[str, str]:
    """Namespace ("" for cluster-scoped objects) and name of a key."""
    namespace, slash, name = key.partition("/")
    return (namespace, name) if slash else ("", key)


def labels_of(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or {}).get("labels") or _EMPTY


def annotations_of(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or _EMPTY


def group_of(obj: Object) -> str:
    """The API group of an object; "" for the core group."""
    group, slash, _ = str(obj.get("apiVersion") or "").partition("/")
    return group if slash else ""


def split_api_version(api_version: str) -> tuple[str, str]:
    """Group and version; raises ValueError for more than one slash (`schema.ParseGroupVersion`)."""
    if not api_version or api_version == "/":
        return "", ""
    parts = api_version.split("/")
    if len(parts) > 2:
        raise ValueError(f"unexpected GroupVersion string: {api_version}")
    return (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])


# Owners

def owner_references(obj: Object) -> list[Object]:
    return (obj.get("metadata") or {}).get("ownerReferences") or []


def controller_of(obj: Object) -> Object | None:
    """The owner reference that is the object's controller, or None (`metav1.GetControllerOf`)."""
    for reference in owner_references(obj):
        if reference.get("controller"):
            return reference
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid_of(owner)


def owner_reference(owner: Object, *, controller: bool = False, block_deletion: bool = False) -> Object:
    """A reference to `owner`, which must carry apiVersion, kind and uid."""
    reference: Object = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name_of(owner), "uid": uid_of(owner)}
    if controller:
        reference["controller"] = True
    if block_deletion:
        reference["blockOwnerDeletion"] = True
    return reference


def controller_reference(owner: Object) -> Object:
    """`metav1.NewControllerRef`."""
    return owner_reference(owner, controller=True, block_deletion=True)


def object_reference(obj: Object, *, field_path: str = "") -> Object:
    """A core/v1 ObjectReference to `obj`, as events carry it."""
    reference: Object = {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", ""), "name": name_of(obj), "uid": uid_of(obj)}
    if namespace := namespace_of(obj):
        reference["namespace"] = namespace
    if version := resource_version(obj):
        reference["resourceVersion"] = version
    if field_path:
        reference["fieldPath"] = field_path
    return reference


# Deletion and finalizers

def is_deleting(obj: Object) -> bool:
    return (obj.get("metadata") or {}).get("deletionTimestamp") is not None


def finalizers_of(obj: Object) -> list[str]:
    return (obj.get("metadata") or {}).get("finalizers") or []


def has_finalizer(obj: Object, finalizer: str) -> bool:
    return finalizer in finalizers_of(obj)


def with_finalizer(obj: Object, finalizer: str) -> Object:
    if has_finalizer(obj, finalizer):
        return obj
    return with_metadata(obj, finalizers=[*finalizers_of(obj), finalizer])


def without_finalizer(obj: Object, finalizer: str) -> Object:
    left = [item for item in finalizers_of(obj) if item != finalizer]
    return with_metadata(obj, finalizers=left or None)


# Path copies

def with_metadata(obj: Object, **fields: Any) -> Object:
    """The object with these metadata fields set; None removes one."""
    metadata = {**(obj.get("metadata") or {}), **fields}
    for field, value in fields.items():
        if value is None:
            del metadata[field]
    return {**obj, "metadata": metadata}


def with_labels(obj: Object, labels: Mapping[str, str | None]) -> Object:
    """The object with labels set, or removed where the value is None."""
    return with_metadata(obj, labels=_merged(labels_of(obj), labels))


def with_annotations(obj: Object, annotations: Mapping[str, str | None]) -> Object:
    return with_metadata(obj, annotations=_merged(annotations_of(obj), annotations))


def _merged(old: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str] | None:
    merged: dict[str, str | None] = {**old, **changes}
    return {key: value for key, value in merged.items() if value is not None} or None


def with_status(obj: Object, **fields: Any) -> Object:
    """The object with these status fields set; None removes one."""
    status = {**(obj.get("status") or {}), **fields}
    return {**obj, "status": {key: value for key, value in status.items() if value is not None}}


# Conditions

def conditions_of(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []


def find_condition(conditions: Iterable[Object], type: str) -> Object | None:
    for condition in conditions:
        if condition.get("type") == type:
            return condition
    return None


def condition_is(obj: Object, type: str, status: str = "True") -> bool:
    condition = find_condition(conditions_of(obj), type)
    return condition is not None and condition.get("status") == status


def set_condition(conditions: Iterable[Object], condition: Object, now: str) -> list[Object]:
    """The conditions with `condition` in place of the one of its type, or appended (`meta.SetStatusCondition`).

    `lastTransitionTime` is `now` when the status changes, else it stays; a `lastTransitionTime` given is taken as it is."""
    result = list(conditions)
    for position, current in enumerate(result):
        if current.get("type") == condition.get("type"):
            since = current.get("lastTransitionTime") if current.get("status") == condition.get("status") else None
            result[position] = {**current, **condition, "lastTransitionTime": condition.get("lastTransitionTime") or since or now}
            return result
    result.append({**condition, "lastTransitionTime": condition.get("lastTransitionTime") or now})
    return result


def without_condition(conditions: Iterable[Object], type: str) -> list[Object]:
    return [condition for condition in conditions if condition.get("type") != type]
