"""Bytes on the wire and in storage: JSON and YAML as kube-apiserver reads and writes them.

    stored(obj)                 canonical bytes: kind, apiVersion, metadata in Go's order, the rest sorted; no resourceVersion
    splice(raw, revision)       stored bytes with their resourceVersion, without decoding
    compact(obj), pretty(raw)   what is answered: <>& escaped; compact ends with a newline, pretty does not
    parse_body(raw, kind)       a request's JSON or YAML body, refused with kube-apiserver's words

Known differences: struct fields below metadata are written in alphabetical order, not in Go's.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import orjson

from kubepy.api import gojson
from kubepy.api.errors import BadRequest
from kubepy.api.types import Object
from kubepy.api.yaml import YamlProblem, parse_yaml

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request's body; more is 413 (`Request entity too large: limit is 3145728`)."""

META_ORDER = ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
              "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields")
_STORED_META = tuple(name for name in META_ORDER if name not in ("resourceVersion", "selfLink"))
_SORTED_META = ("labels", "annotations", "ownerReferences")
_MANAGED_ORDER = ("manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource")
_SORT = orjson.OPT_SORT_KEYS
_UID = b'"uid":"'
_METADATA = b'"metadata":{'
_HEAD_TYPE = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


class Body(NamedTuple):
    """A request's body. `value` may be anything JSON is; `duplicates` are yaml's problems in strict mode."""

    value: Any
    raw: bytes
    yaml: bool = False
    duplicates: tuple[str, ...] = ()


# Writing

class RawObject(dict[str, Any]):
    """A member of free form (upstream's RawExtension) that counts byte by byte: as it was sent, but for the escapes Go's JSON has."""

    __slots__ = ("raw",)

    raw: bytes

    @property
    def compact(self) -> bool:
        """Whether it was sent without white space."""
        return escape(orjson.dumps(orjson.loads(self.raw))) == self.raw


def with_raw(obj: Object, member: str, text: bytes) -> Object:
    """The object, with the bytes that `member` has in its JSON `text`; unchanged where that is no object."""
    value = obj.get(member)
    if type(value) is not dict:
        return obj
    found = RawObject(value)
    found.raw = escape(bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw])[member]))
    return {**obj, member: found}


def stored(obj: Object) -> bytes:
    """The canonical bytes of an object: equal objects give equal bytes. `metadata.resourceVersion` and `selfLink` are left out."""
    metadata: Object = obj.get("metadata") or {}
    shown: Object = {key: metadata[key] for key in _STORED_META if key in metadata and metadata[key] is not None}
    for key in _SORTED_META:
        if key in shown:
            shown[key] = orjson.Fragment(orjson.dumps(shown[key], option=_SORT))
    if "managedFields" in shown:
        shown["managedFields"] = [_managed(entry) for entry in shown["managedFields"]]
    whole: Object = {"kind": obj.get("kind", ""), "apiVersion": obj.get("apiVersion", ""), "metadata": shown}
    for key in sorted(obj.keys() - whole.keys()):
        value = obj[key]
        plain = type(value) is not dict and type(value) is not list
        if type(value) is RawObject:
            whole[key] = orjson.Fragment(value.raw)
        else:
            whole[key] = value if plain else orjson.Fragment(orjson.dumps(value, option=_SORT))
    return escape(orjson.dumps(whole))


def _managed(entry: Object) -> Object:
    shown = {name: entry[name] for name in _MANAGED_ORDER if name in entry}
    if "fieldsV1" in shown:
        shown["fieldsV1"] = orjson.Fragment(orjson.dumps(shown["fieldsV1"], option=_SORT))
    return shown


def splice(raw: bytes, revision: int | str) -> bytes:
    """Stored bytes with `metadata.resourceVersion` where Go writes it: after the uid."""
    start = raw.index(_METADATA) + len(_METADATA)
    end = uid_end(raw, start)
    if end >= 0:
        return b'%b,"resourceVersion":"%b"%b' % (raw[:end], str(revision).encode(), raw[end:])
    comma = b"" if raw[start:start + 1] == b"}" else b","
    return b'%b"resourceVersion":"%b"%b%b' % (raw[:start], str(revision).encode(), comma, raw[start:])


def uid_end(raw: bytes, start: int) -> int:
    """Where the uid of stored metadata ends (behind its quote), or -1; `start` is where the metadata's fields begin.

    Before it stand texts only, in which quotes are escaped; a brace or bracket means that the uid found is another object's."""
    at = raw.find(_UID, start, start + 2048)
    if at < 0 or raw.find(b"{", start, at) >= 0 or raw.find(b"[", start, at) >= 0:
        return -1
    return raw.index(b'"', at + len(_UID)) + 1


def escape(raw: bytes) -> bytes:
    """JSON bytes with what Go escapes for HTML's sake: <, >, &, and the two line separators."""
    if b"<" in raw:
        raw = raw.replace(b"<", b"\\u003c")
    if b">" in raw:
        raw = raw.replace(b">", b"\\u003e")
    if b"&" in raw:
        raw = raw.replace(b"&", b"\\u0026")
    if b"\xe2\x80" in raw:
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return raw


def compact(obj: Any) -> bytes:
    """An answer's JSON, with Go's newline at its end; keys in the order the object has them."""
    return escape(orjson.dumps(obj)) + b"\n"


def pretty(raw: bytes) -> bytes:
    """JSON indented by two spaces, as `?pretty=true` answers: no newline at the end."""
    return escape(orjson.dumps(orjson.loads(raw), option=orjson.OPT_INDENT_2))


# Reading

def parse_json(raw: bytes) -> Any:
    """A JSON document as Go would read it into maps; raises `gojson.SyntaxProblem` with Go's message."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return gojson.parse(raw.decode("utf-8", "replace"))


def has_duplicates(raw: bytes, value: Any) -> bool:
    """Whether a document may repeat a key of some object: false means certainly not (for what clients write), true asks for a closer look.

    The re-encoded document has fewer `":` when a pair was lost."""
    try:
        dumped = orjson.dumps(value)
    except TypeError:  # deeper than orjson writes
        return True
    if len(dumped) == len(raw) or len(dumped) + 1 == len(raw):
        return False
    return raw.count(b'":') != dumped.count(b'":')


def parse_body(raw: bytes, kind: str, *, yaml: bool = False) -> Body:
    """The body of a write. `kind` is the one expected, for the message; raises BadRequest."""
    problems: tuple[str, ...] = ()
    try:
        if yaml:
            value, problems = parse_yaml(raw)
        else:
            value = parse_json(raw)
    except gojson.SyntaxProblem as error:
        raise unrecognized(kind, f"couldn't get version/kind; json parse error: {error}", raw) from error
    except YamlProblem as error:
        raise unrecognized(kind, str(error), raw) from error
    if value is not None and type(value) is not dict:
        why = f"json: cannot unmarshal {go_kind(value)} into Go value of type {_HEAD_TYPE}"
        raise unrecognized(kind, f"couldn't get version/kind; json parse error: {why}", raw)
    if value is not None:
        for field in ("apiVersion", "kind"):
            item = value.get(field)
            if item is not None and type(item) is not str:
                why = f"json: cannot unmarshal {go_kind(item)} into Go struct field .{field} of type string"
                raise unrecognized(kind, f"couldn't get version/kind; json parse error: {why}", raw)
    return Body(value, raw, yaml, problems)


def unrecognized(kind: str, why: str, raw: bytes) -> BadRequest:
    """The refusal of a body whose type could not even be found out."""
    return BadRequest(f"the object provided is unrecognized (must be of type {kind}): {why} ({_summary(raw)})")


def go_kind(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "null"


def _summary(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    if raw[:1] == b"{":
        text = raw[:30].decode("utf-8", "replace")
    else:
        text = raw[:30].hex()
    return f"{text} ..." if len(raw) > 30 else text
