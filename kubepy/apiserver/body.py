"""Request bodies: bytes to an object of the kind the request is for."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kubepy.api.codec import META_ORDER, parse_body, unrecognized, with_raw
from kubepy.api.errors import BadRequest, Invalid
from kubepy.api.field import FieldError
from kubepy.api.protobuf import ProtobufError, decode_body
from kubepy.api.schema.accept import Rejected, accept
from kubepy.api.schema.decode import DecodeError, decode_object
from kubepy.api.schema.decode import decode as decode_value
from kubepy.api.schema.shape import of_kind, struct
from kubepy.api.structural import CoerceError
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.aside import aside
from kubepy.apiserver.crd.decode import decode_custom
from kubepy.apiserver.crd.decode import decode_patched as decode_custom_patch
from kubepy.apiserver.crd.kind import custom_of
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.request import Context

_HEAD = frozenset(("apiVersion", "kind", "metadata"))
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


async def read_object(exchange: Exchange, context: Context, group: str, version: str, kind: str) -> Object:
    """The body as an object of the given kind; raises ApiError."""
    data = await exchange.body()
    context.size = len(data)
    return await aside(len(data), decode, context, data, media.body_type(exchange.header(b"content-type")), group, version, kind)


def decode(context: Context, data: bytes, content_type: str, group: str, version: str, kind: str) -> Object:
    """Reads JSON, YAML or protobuf; apiVersion and kind default to the request's and must be it. Raises BadRequest."""
    custom = custom_of(context.kind)
    if custom is not None and custom.resource[:2] == (group, version) and custom.resource.kind == kind:
        return decode_custom(context, custom, data, yaml=content_type == media.YAML)
    if content_type == media.PROTOBUF:
        data = json_of(data, kind)
    body = parse_body(data, kind, yaml=content_type == media.YAML)
    shape = of_kind(group, version, kind)
    if shape is None:
        return _untyped({} if body.value is None else body.value, group, version, kind)
    obj, warnings = decode_object(shape, body.value, validation=context.field_validation, body=body)
    for text in warnings:
        context.warn(text)
    if context.kind.raw_member and content_type == media.JSON:
        obj = with_raw(obj, context.kind.raw_member, data)
    return _with_metadata(obj)


def json_of(data: bytes, kind: str) -> bytes:
    """A protobuf body as the JSON one that says the same."""
    try:
        return orjson.dumps(decode_body(data)[0])
    except ProtobufError as error:
        raise unrecognized(kind, str(error), data) from error


def decode_patched(context: Context, kind: Kind, patched: Object, shown: Callable[[], str] | None = None,
                   old: Object | None = None) -> Object:
    """The outcome of a patch as an object of the kind; raises Invalid in the words of upstream's patch handler.

    `shown` stands for the value in them, by default the patched object. Sections that `patched` shares with `old`, which was stored,
    are only copied: most patches change but one."""
    resource = kind.resource
    shape = of_kind(resource.group, resource.version, resource.kind)
    custom = custom_of(kind)
    if shape is None and custom is None:
        return patched
    try:
        if custom is not None:
            return decode_custom_patch(context, custom, patched)
        assert shape is not None
        changed, kept, owners = _changed(patched, old) if old is not None and kind.conversion is None else (patched, {}, None)
        if kept and changed.keys() <= _HEAD and (metadata := _accepted(changed.get("metadata"))) is not None:
            warnings: list[str] = []
            obj: Object = {"metadata": metadata}
        else:
            obj, warnings = decode_value(shape, changed, validation=context.field_validation, converter=shown is not None)
    except (CoerceError, DecodeError) as error:
        text = orjson.dumps(shown() if shown is not None else _shown_patch(patched, custom is not None)).decode()
        raise Invalid.of("", "", "", [FieldError("patch", "FieldValueInvalid", f"Invalid value: {text}: {error}")]) from error
    for warning in warnings:
        context.warn(warning)
    obj |= kept
    obj["kind"], obj["apiVersion"] = resource.kind, resource.api_version
    obj = _with_metadata(obj)
    if owners:
        obj["metadata"]["managedFields"] = owners
    return obj


def _accepted(metadata: Any) -> Object | None:
    """Decoded metadata, or None where something is to be said about it."""
    try:
        found: Object = accept(struct(_METADATA), metadata)
    except Rejected:
        return None
    return found


def _changed(patched: Object, old: Object) -> tuple[Object, Object, Any]:
    """What is to be decoded of a patched object, copies of the sections that are still the old object's, and its managedFields if they are.

    Those are not copied, as they are written anew."""
    kept: Object = {key: value for key, value in patched.items()
                    if key != "metadata" and type(value) is dict and value is old.get(key)}
    changed: Object = {key: value for key, value in patched.items() if key not in kept}
    owners = None
    if type(metadata := patched.get("metadata")) is dict and metadata.get("managedFields") is old["metadata"].get("managedFields"):
        changed["metadata"] = dict(metadata)
        owners = changed["metadata"].pop("managedFields", None)
    try:
        return changed, orjson.loads(orjson.dumps(kept)) if kept else kept, owners
    except TypeError:  # numbers beyond 64 bits
        return patched, {}, None


def _shown_patch(patched: Object, custom: bool) -> str:
    return (orjson.dumps(patched, option=orjson.OPT_SORT_KEYS) if custom else orjson.dumps(_as_patched(patched))).decode()


def _as_patched(patched: Object) -> Object:
    """In the order upstream shows a patched object: sorted, its metadata in Go's order."""
    shown = {key: patched[key] for key in sorted(patched)}
    if isinstance(metadata := patched.get("metadata"), dict):
        rank = {name: position for position, name in enumerate(META_ORDER)}
        shown["metadata"] = {key: metadata[key] for key in sorted(metadata, key=lambda key: (rank.get(key, len(rank)), key))}
    return shown


def _with_metadata(obj: Object) -> Object:
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    return obj


def _untyped(obj: Object, group: str, version: str, kind: str) -> Object:
    """An object of a kind that has no built-in schema."""
    api_version = f"{group}/{version}" if group else version
    found_version, found_kind = obj.get("apiVersion") or api_version, obj.get("kind") or kind
    if found_kind != kind or found_version.rpartition("/")[0] != group:
        found = found_version.rpartition("/")[2]
        raise BadRequest(f'{found_kind} in version "{found}" cannot be handled as a {kind}')
    if found_version != api_version:
        raise BadRequest(f"the API version in the data ({found_version}) does not match the expected API version ({api_version})")
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    return {**obj, "apiVersion": api_version, "kind": kind, "metadata": metadata or {}}
