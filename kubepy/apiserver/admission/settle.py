"""An object that a webhook or a policy changed, brought into shape again: of its kind's type, with defaults, without unknown fields."""
from __future__ import annotations

from kubepy.api.errors import InternalError
from kubepy.api.schema.decode import DecodeError, decode
from kubepy.api.schema.shape import of_kind
from kubepy.api.structural import CoerceError
from kubepy.api.types import Object
from kubepy.apiserver.admission.view import View, split_kind
from kubepy.apiserver.crd.decode import copy_tree, normalize
from kubepy.apiserver.crd.kind import CustomKind


def settle(patched: Object, view: View) -> Object:
    """Raises InternalError for what is no object of the kind any more. Parts may be shared with `patched`."""
    group, version, kind = split_kind(patched)
    if (group, version, kind) != view.kind:
        raise InternalError.of(f"converting ({group}/{version}, Kind={kind}) to ({'/'.join(view.kind[:2])}, Kind={view.kind[2]}): unknown "
                               "conversion")
    own = view.attributes.context.kind
    shape = of_kind(group, version, kind)
    if shape is None:
        return _custom(patched, own, view)
    managed = (patched.get("metadata") or {}).get("managedFields")
    try:
        found, _ = decode(shape, patched, validation="Ignore")
    except DecodeError as error:
        raise InternalError.of(str(error)) from error
    found["apiVersion"], found["kind"] = patched["apiVersion"], patched["kind"]
    if not isinstance(found.get("metadata"), dict):
        found["metadata"] = {}
    if managed:
        found["metadata"]["managedFields"] = managed
    if (group, version, kind) == (own.resource.group, own.resource.version, own.resource.kind):
        own.strategy.fill(found)
    return found


def _custom(patched: Object, own: object, view: View) -> Object:
    if not isinstance(own, CustomKind) or own.compiled is None or view.resource != own.resource:
        return patched
    found: Object = copy_tree(patched)
    try:
        normalize(found, own.compiled.node)
    except CoerceError as error:
        raise InternalError.of(str(error)) from error
    return found
