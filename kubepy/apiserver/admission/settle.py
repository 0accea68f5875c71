"""An object that a webhook or a policy changed, brought into shape again."""
from __future__ import annotations

from kubepy.api.errors import InternalError
from kubepy.api.schema.decode import DecodeError, decode
from kubepy.api.schema.shape import of_kind
from kubepy.api.types import Object
from kubepy.apiserver.admission.view import View, split_kind


def settle(patched: Object, view: View) -> Object:
    """The object with its type checked and its defaults filled; raises InternalError."""
    group, version, kind = split_kind(patched)
    shape = of_kind(group, version, kind)
    if shape is None:
        return patched
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
    own = view.attributes.context.kind
    if (group, version, kind) == (own.resource.group, own.resource.version, own.resource.kind):
        own.strategy.fill(found)
    return found
