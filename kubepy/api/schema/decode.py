"""Decoding of objects: what verbs call. First the fast way (`accept`), then, if need be, the one that explains (`explain`).

    body = codec.parse_body(raw, "Deployment", yaml=…)
    obj, warnings = decode_object(shape, body.value, validation="Strict", body=body)      # the body of POST and PUT
    obj, warnings = decode(shape, patched, validation="Warn")                             # the outcome of a patch

The decoded object is a fresh tree with Go's normal form: no unknown fields, nulls or empty optional values; canonical quantities and
times; the fields Go always writes. Parts that needed no change may be shared with the value that was decoded.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from kubepy.api import gojson
from kubepy.api.codec import Body, has_duplicates, unrecognized
from kubepy.api.errors import BadRequest
from kubepy.api.schema import definitions
from kubepy.api.schema.accept import Rejected, accept
from kubepy.api.schema.explain import WrongType, explain
from kubepy.api.schema.shape import Struct, of_kind
from kubepy.api.types import Object

Validation = Literal["Strict", "Warn", "Ignore"]

_SCHEME = 'scheme "pkg/api/legacyscheme/scheme.go:30"'


class DecodeError(ValueError):
    """An object that cannot be decoded; the message is Kubernetes'."""


class StrictError(DecodeError):
    """Unknown or duplicate fields in strict mode; `problems` names them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"strict decoding error: {', '.join(problems)}")
        self.problems = list(problems)


def decode(shape: Struct, value: Any, *, validation: Validation = "Warn", body: Body | None = None,
           converter: bool = False) -> tuple[Object, list[str]]:
    """The object in normal form and the warnings for its unknown and duplicate fields. Raises DecodeError.

    `body` is what `value` was read from, if it was read: duplicates and the text of numbers are only there. `converter` is for the
    outcome of strategic patches, whose wrong types upstream tells in other words."""
    json = body.raw if body is not None and not body.yaml else None
    lenient = validation == "Ignore"
    problems: list[str] = []
    try:
        if not lenient and json is not None and has_duplicates(json, value):
            raise Rejected
        obj: Object = accept(shape, value)
    except Rejected:
        if json is not None:
            value = gojson.parse(json.decode("utf-8", "replace"), explain=True)
        try:
            obj, problems = explain(shape, value, converter=converter)
        except WrongType as error:
            raise DecodeError(str(error)) from error
        except RecursionError as error:
            raise DecodeError("json: exceeded max depth") from error
    if lenient:
        return obj, []
    doubled = body.duplicates if body is not None else ()
    if validation == "Strict" and (doubled or problems):
        told = [f"yaml: unmarshal errors:\n{chr(10).join(f'  {text}' for text in doubled)}"] if doubled else []
        raise StrictError([*told, *problems])
    return obj, [*doubled, *problems]


def decode_object(shape: Struct, value: Any, *, validation: Validation = "Warn", body: Body | None = None) -> tuple[Object, list[str]]:
    """As `decode`, for the body of a request: apiVersion and kind may be left out, and refusals are `errors.BadRequest`."""
    group, version, kind = kind_of(shape)
    expected = f"{group}/{version}" if group else version
    if value is None:
        value = {}
    got_kind = value.get("kind") or kind
    got_version = value.get("apiVersion") or expected
    if got_kind != kind or got_version != expected:
        _mismatch(shape, value, got_version, got_kind, validation, body)
    try:
        obj, warnings = decode(shape, value, validation=validation, body=body)
    except DecodeError as error:
        raise BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}') from error
    obj["kind"], obj["apiVersion"] = kind, expected
    return obj, warnings


@cache
def kind_of(shape: Struct) -> tuple[str, str, str]:
    """Group, version and kind of a shape that is a kind."""
    for gvk, name in definitions.kinds().items():
        if name == shape.definition:
            return gvk
    raise KeyError(f"{shape.definition} is no kind")


def _mismatch(shape: Struct, value: Object, api_version: str, kind: str, validation: Validation, body: Body | None) -> None:
    """Refuses an object of another type than the one the path is for, unless both are the same."""
    group, _, version = api_version.rpartition("/")
    expected_group, expected_version, expected_kind = kind_of(shape)
    if api_version.count("/") > 1:
        raise unrecognized(expected_kind, f"couldn't get version/kind; json parse error: unexpected GroupVersion string: {api_version}",
                           body.raw if body is not None else b"")
    handled = f'{kind} in version "{version}" cannot be handled as a {expected_kind}'
    other = of_kind(group, version, kind)
    if other is None:
        raise BadRequest(f'{handled}: no kind "{kind}" is registered for version "{api_version}" in {_SCHEME}')
    try:
        decode(other, value, validation=validation, body=body)
    except DecodeError as error:
        raise BadRequest(f"{handled}: {error}") from error
    if kind == expected_kind and group == expected_group:
        expected = f"{expected_group}/{expected_version}" if expected_group else expected_version
        raise BadRequest(f"the API version in the data ({api_version}) does not match the expected API version ({expected})")
    internal = (expected_group or "core").split(".")[0]
    raise BadRequest(f"{handled}: converting ({version}.{kind}) to ({internal}.{expected_kind}): unknown conversion")
