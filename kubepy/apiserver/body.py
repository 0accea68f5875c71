"""Request bodies: bytes to an object of the kind the request is for."""
from __future__ import annotations

from kubepy.api.codec import parse_body
from kubepy.api.errors import BadRequest
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.request import Context


async def read_object(exchange: Exchange, context: Context, group: str, version: str, kind: str) -> Object:
    """The body as an object of the given kind; raises ApiError."""
    data = await exchange.body()
    return decode(context, data, media.body_type(exchange.header(b"content-type")), group, version, kind)


def decode(context: Context, data: bytes, content_type: str, group: str, version: str, kind: str) -> Object:
    """Reads JSON or YAML; apiVersion and kind default to the request's and must be it. Raises BadRequest."""
    obj = parse(data, content_type, kind)
    api_version = f"{group}/{version}" if group else version
    found_version, found_kind = obj.get("apiVersion") or api_version, obj.get("kind") or kind
    if found_kind != kind or (found_version.partition("/")[0] != api_version.partition("/")[0] and "/" in found_version + api_version):
        raise BadRequest(f"{found_kind} in version {found_version.rpartition('/')[2]!r} cannot be handled as a {kind}")
    if found_version != api_version:
        raise BadRequest(f"the API version in the data ({found_version}) does not match the expected API version ({api_version})")
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = {}
    elif not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata,
            **{key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}}


def parse(data: bytes, content_type: str, kind: str) -> Object:
    """A JSON or YAML object; raises BadRequest."""
    found = parse_body(data, kind, yaml=content_type == media.YAML).value
    return {} if found is None else found
