"""Namespace: a scope for names (`pkg/registry/core/namespace`).

Its finalizers in the spec hold it until its content is gone; only `finalize` changes them. Its name is also a label.
"""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import NAMESPACES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource
from kubepy.apiserver.request import Context

_NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    has_status = True
    name_kind = "label"

    def fill(self, obj: Object) -> None:
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Active"
        title = obj["metadata"].get("name")
        if title:
            obj["metadata"].setdefault("labels", {})[_NAME_LABEL] = title

    def prepare_create(self, context: Context, obj: Object) -> None:
        finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["spec"] = old.get("spec") or {}
        obj["status"] = old.get("status") or {}

    def validate(self, context: Context, obj: Object) -> Errors:
        return _finalizers(obj)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return []

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        phase = at(obj, "status.phase", "")
        path = Path("status.Phase")
        if at(obj, "metadata.deletionTimestamp") is None:
            if phase != "Active":
                return [field.invalid(path, phase, "may only be 'Active' if `deletionTimestamp` is empty")]
        elif phase != "Terminating":
            return [field.invalid(path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
        return []


class FinalizeStrategy(NamespaceStrategy):
    """`namespaces/finalize`: the finalizers of the spec change, nothing else."""

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["status"] = old.get("status") or {}

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return _finalizers(obj)


def _finalizers(obj: Object) -> Errors:
    errors: Errors = []
    for position, finalizer in enumerate(at(obj, "spec.finalizers", [])):
        path = Path("spec.finalizers").index(position)
        errors += check.named(name.qualified, finalizer, path)
        if not errors and "/" not in finalizer and finalizer != "kubernetes":
            errors.append(field.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified"))
    return errors


KIND = Kind(
    NAMESPACES,
    "namespace",
    NamespaceStrategy(),
    columns=(NAME, column("Status", "string", "The status of the namespace", lambda obj: at(obj, "status.phase", "")), AGE),
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    selectable={"status.phase": lambda obj: at(obj, "status.phase", "")},
    unknown_field="field label not supported: {field}",
    subresources=(Subresource("finalize", ("update",), strategy=FinalizeStrategy()), STATUS),
)
