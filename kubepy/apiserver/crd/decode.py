"""Bodies of custom resources: JSON or YAML to objects in normal form (`schemaCoercingDecoder` and the unstructured codec)."""
from __future__ import annotations

import re
from typing import Any

from kubepy.api import gojson
from kubepy.api.codec import Body, has_duplicates, parse_body, unrecognized
from kubepy.api.errors import BadRequest, Invalid
from kubepy.api.field import Path, invalid
from kubepy.api.schema.decode import StrictError
from kubepy.api.structural import CoerceError, Node, coerce, fill, prune
from kubepy.api.structural.coerce import coerce_metadata
from kubepy.api.types import Object
from kubepy.apiserver.crd.kind import CustomKind
from kubepy.apiserver.request import Context

_FRACTION = re.compile(rb"\d\.\d|\d[eE][+-]?\d")


def _whole(value: Any) -> Any:
    """Go writes a number without a fraction as an integer, however it was sent."""
    if type(value) is dict:
        return {key: _whole(item) for key, item in value.items()}
    if type(value) is list:
        return [_whole(item) for item in value]
    if type(value) is float and value.is_integer() and abs(value) < 1 << 63:
        return int(value)
    return value


def decode_custom(context: Context, kind: CustomKind, data: bytes, *, yaml: bool) -> Object:
    """The body of POST and PUT as an object of the kind; raises BadRequest or Invalid."""
    resource = kind.resource
    body = parse_body(data, resource.kind, yaml=yaml)
    if not isinstance(body.value, dict):
        raise unrecognized(resource.kind, "couldn't get version/kind; json parse error: unexpected end of JSON input", data)
    obj = _whole(dict(body.value)) if _FRACTION.search(data) is not None else dict(body.value)
    found = obj.get("kind") or ""
    if not found:
        shown = data.decode("utf-8", "replace")
        raise unrecognized(resource.kind, f"Object 'Kind' is missing in '{shown}'", data)
    problems = _duplicates(body, context.field_validation)
    assert kind.compiled is not None
    try:
        unknown = normalize(obj, kind.compiled.node)
        _strict(context, [*problems, *(f'unknown field "{path}"' for path in unknown)])
    except (CoerceError, StrictError) as error:
        raise BadRequest(f'{found} in version "{resource.version}" cannot be handled as a {resource.kind}: {error}') from error
    version = obj.get("apiVersion") or ""
    if version != resource.api_version:
        raise BadRequest(f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})")
    if found != resource.kind:
        problem = invalid(Path("kind"), found, f"must be {resource.kind}")
        raise Invalid.of(resource.group, found, obj["metadata"].get("name") or "", [problem])
    return obj


def decode_patched(context: Context, kind: CustomKind, patched: Object) -> Object:
    """The outcome of a patch; raises CoerceError, StrictError."""
    assert kind.compiled is not None
    obj: Object = copy_tree(patched)
    unknown = normalize(obj, kind.compiled.node)
    _strict(context, [f'unknown field "{path}"' for path in unknown])
    return obj


def normalize(obj: Object, node: Node) -> list[str]:
    """Coerces, prunes and fills an object in place; the paths of what was dropped. Raises CoerceError."""
    unknown: list[str] = []
    metadata = obj.get("metadata")
    obj["metadata"] = {} if metadata is None else coerce_metadata(metadata, unknown, "metadata")
    coerce(obj, node, unknown)
    unknown += prune(obj, node)
    fill(obj, node)
    return sorted(unknown)


def coerce_stored(obj: Object, node: Node) -> None:
    """What reading does to a stored object: what is wrong in its metadata or unknown is dropped, defaults are filled."""
    coerce(obj, node, [], drop_invalid=True)
    prune(obj, node)
    if not obj["metadata"].get("generation"):
        obj["metadata"]["generation"] = 1
    fill(obj, node)


def copy_tree(value: Any) -> Any:
    if type(value) is dict:
        return {key: copy_tree(item) for key, item in value.items()}
    if type(value) is list:
        return [copy_tree(item) for item in value]
    return value


def _strict(context: Context, problems: list[str]) -> None:
    if not problems or context.field_validation == "Ignore":
        return
    if context.field_validation == "Strict":
        raise StrictError(problems)
    for text in problems:
        context.warn(text)


def _duplicates(body: Body, validation: str) -> list[str]:
    if validation == "Ignore":
        return []
    if body.yaml:
        if not body.duplicates:
            return []
        if validation == "Strict":
            return [f"yaml: unmarshal errors:\n{chr(10).join(f'  {text}' for text in body.duplicates)}"]
        return list(body.duplicates)
    if not has_duplicates(body.raw, body.value):
        return []
    found: list[str] = []
    _repeated(gojson.parse(body.raw.decode("utf-8", "replace"), explain=True), "", found)
    return found


def _repeated(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, gojson.Pairs):
        seen: set[str] = set()
        for key, item in value.pairs:
            here = f"{path}.{key}" if path else key
            if key in seen:
                found.append(f'duplicate field "{here}"')
            seen.add(key)
            _repeated(item, here, found)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _repeated(item, f"{path}[{position}]", found)
