"""StorageClass: a way to provision volumes (`pkg/registry/storage/storageclass`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import STORAGE_CLASSES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, UNSET, at, column
from kubepy.apiserver.registry.core.podspec_warnings import old_label
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_OLD_DEFAULT = "storageclass.beta.kubernetes.io/is-default-class"
_MAX_PARAMETERS, _MAX_SIZE = 512, 256 * 1024


class StorageClassStrategy(Strategy):
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def validate(self, context: Context, obj: Object) -> Errors:
        provisioner = obj.get("provisioner", "")
        errors = check.need(provisioner, Path("provisioner"))
        if provisioner:
            errors += check.named(name.qualified, provisioner.lower(), Path("provisioner"))
        errors += parameters(obj.get("parameters"), Path("parameters"), allow_empty=True)
        if obj.get("reclaimPolicy"):
            errors += check.one_of(obj["reclaimPolicy"], Path("reclaimPolicy"), ("Delete", "Retain"))
        errors += check.need_one_of(obj.get("volumeBindingMode"), Path("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
        return errors + _topologies(obj.get("allowedTopologies") or [], Path("allowedTopologies"))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors: Errors = []
        for key in ("parameters", "provisioner", "reclaimPolicy"):
            if (obj.get(key) or None) != (old.get(key) or None):
                errors.append(field.forbidden(Path(key), f"updates to {key} are forbidden."))
        return errors + check.immutable(obj.get("volumeBindingMode"), old.get("volumeBindingMode"), Path("volumeBindingMode"))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = []
        for place, term in enumerate(obj.get("allowedTopologies") or ()):
            for position, expression in enumerate(term.get("matchLabelExpressions") or ()):
                key = expression.get("key", "")
                if old_label(key):
                    path = Path("allowedTopologies").index(place).child("matchLabelExpressions").index(position).child("key")
                    found.append(f"{path}: {key} is {old_label(key)}")
        return found


def parameters(value: Object | None, path: Path, *, allow_empty: bool) -> Errors:
    """validateParameters."""
    errors: Errors = []
    if value:
        if len(value) > _MAX_PARAMETERS:
            errors.append(field.FieldError(str(path), "FieldValueTooLong", f"Too long: may not be more than {_MAX_PARAMETERS} bytes"))
            return errors
        if "" in value:
            errors.append(field.invalid(path, "", "field can not be empty."))
        if sum(len(key) + len(text) for key, text in value.items()) > _MAX_SIZE:
            errors.append(field.too_long(path, _MAX_SIZE))
    elif not allow_empty:
        errors.append(field.required(path, "must contain at least one key/value pair"))
    return errors


def _topologies(terms: list[Object], path: Path) -> Errors:
    errors: Errors = []
    seen: list[dict[str, frozenset[str]]] = [{} for _ in terms]  # upstream starts with as many empty ones
    for position, term in enumerate(terms):
        at_expressions = path.index(position).child("matchLabelExpressions")
        found: dict[str, frozenset[str]] = {}
        for place, expression in enumerate(term.get("matchLabelExpressions") or ()):
            here = at_expressions.index(place)
            key, values = expression.get("key", ""), expression.get("values") or []
            if not values:
                errors.append(field.required(here.child("values")))
            errors += check.unique(values, here.child("values"))
            errors += check.named(name.qualified, key, here.child("key"))
            if key in found:
                errors.append(field.duplicate(here.child("key"), key))
            found[key] = frozenset(values)
        errors += [field.duplicate(at_expressions, "")] * seen.count(found)
        seen.append(found)
    return errors


def _title(obj: Object) -> str:
    annotations = at(obj, "metadata.annotations", {})
    default = "true" in (annotations.get(_DEFAULT), annotations.get(_OLD_DEFAULT))
    title = str(at(obj, "metadata.name", ""))
    return f"{title} (default)" if default else title


KIND = Kind(
    STORAGE_CLASSES,
    "storageclass",
    StorageClassStrategy(),
    columns=(
        column("Name", "string", "=meta.v1.ObjectMeta.name", _title, format="name"),
        column("Provisioner", "string", "=storage.v1.StorageClass.provisioner", lambda obj: obj.get("provisioner", "")),
        column("ReclaimPolicy", "string", "=storage.v1.StorageClass.reclaimPolicy", lambda obj: obj.get("reclaimPolicy", "Delete")),
        column("VolumeBindingMode", "string", "=storage.v1.StorageClass.volumeBindingMode",
               lambda obj: obj.get("volumeBindingMode", UNSET)),
        column("AllowVolumeExpansion", "string", "=storage.v1.StorageClass.allowVolumeExpansion",
               lambda obj: bool(obj.get("allowVolumeExpansion"))),
        AGE,
    ),
    short_names=("sc",),
)
