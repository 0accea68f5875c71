"""List options and continue tokens, with Kubernetes' rules and words.

A token is upstream's: unpadded base64 of `{"v":"meta.k8s.io/v1","rv":…,"start":…}`, `start` being the key after the last one returned,
relative to the listed prefix; an `rv` of -1 continues at whatever is current.
"""
from __future__ import annotations

import base64
import binascii
import posixpath
from dataclasses import dataclass, field
from enum import Enum

import orjson

from kubepy.api import errors
from kubepy.api.codec import parse_json
from kubepy.api.field import FieldError, Path, forbidden, not_supported
from kubepy.apiserver.storage.entry import Entry

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TOKEN_VERSION = "meta.k8s.io/v1"
_MATCH = Path("resourceVersionMatch")
MAX_REVISION = (1 << 64) - 1


@dataclass(slots=True)
class ListPage:
    """`interface.Page`."""

    entries: list[Entry] = field(default_factory=list)
    revision: int = 0
    continue_token: str = ""
    remaining: int | None = None


class Freshness(Enum):
    ANY = "any"
    """Whatever is cached (`resourceVersion=0`)."""
    CONSISTENT = "consistent"
    NOT_OLDER = "not older"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class ListOptions:
    freshness: Freshness
    revision: int = 0
    start: str = ""
    """The key to go on from, relative to the listed prefix."""
    limit: int = 0
    continued: bool = False


def parse_options(resource_version: str | None, match: str | None, limit: int, token: str) -> ListOptions:
    """What a list asks for; raises Invalid (422) and BadRequest (400) as upstream does."""
    version, match = resource_version or "", match or ""
    _check_match(version, match, token)
    if token:
        start, revision = decode_token(token)
        if version not in ("", "0"):
            raise errors.BadRequest("specifying resource version is not allowed when using continue")
        if revision > 0:
            return ListOptions(Freshness.EXACT, revision, start, limit, True)
        return ListOptions(Freshness.CONSISTENT, 0, start, limit, True)
    if not version:
        return ListOptions(Freshness.CONSISTENT, limit=limit)
    try:
        revision = parse_revision(version)
    except ValueError as error:
        raise errors.BadRequest(f"invalid resource version: {error}") from None
    if revision == 0:
        # The watch cache ignores the limit here, as upstream's does.
        return ListOptions(Freshness.ANY)
    if match == "Exact" or (limit and not match):
        return ListOptions(Freshness.EXACT, revision, limit=limit)
    return ListOptions(Freshness.NOT_OLDER, revision, limit=limit)


def _check_match(version: str, match: str, token: str) -> None:
    found: list[FieldError] = []
    if not match:
        return
    if token:
        found.append(forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    if not version:
        found.append(forbidden(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match not in ("Exact", "NotOlderThan"):
        found.append(not_supported(_MATCH, match, ("Exact", "NotOlderThan", "")))
    elif match == "Exact" and version == "0":
        found.append(forbidden(_MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if found:
        raise errors.Invalid.of("meta.k8s.io", "ListOptions", "", found)


def parse_revision(text: str) -> int:
    """A resourceVersion as a number; raises ValueError with upstream's words. "" is 0."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'resourceVersion: Invalid value: {_quoted(text)}: strconv.ParseUint: parsing {_quoted(text)}: invalid syntax')
    value = int(text) if len(text) <= 20 else MAX_REVISION + 1
    if value > MAX_REVISION:
        raise ValueError(f'resourceVersion: Invalid value: {_quoted(text)}: strconv.ParseUint: parsing {_quoted(text)}: value out of range')
    return value


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def encode_token(start: str, revision: int) -> str:
    body = orjson.dumps({"v": TOKEN_VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def decode_token(token: str) -> tuple[str, int]:
    """The start key and revision of a token; raises BadRequest."""
    try:
        start, revision = _decode_token(token)
    except ValueError as error:
        raise errors.BadRequest(f"invalid continue token: {error}") from None
    return start, revision


def _decode_token(token: str) -> tuple[str, int]:
    try:
        text = token.encode()
        wrong = next((place for place, char in enumerate(text) if char not in _BASE64), len(text) if len(text) % 4 == 1 else None)
        if wrong is not None:
            raise ValueError(f"illegal base64 data at input byte {wrong}")
        data = parse_json(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"continue key is not valid: {error}") from None
    if not isinstance(data, dict):
        raise ValueError("continue key is not valid: not an object")
    version, revision, start = data.get("v", ""), data.get("rv", 0), data.get("start", "")
    if version != TOKEN_VERSION:
        raise ValueError(f'continue key is not valid: server does not recognize this encoded version "{version}"')
    if not isinstance(revision, int) or isinstance(revision, bool) or revision == 0:
        raise ValueError(f"continue key is not valid: incorrect encoded start resourceVersion (version {TOKEN_VERSION})")
    if not isinstance(start, str) or not start:
        raise ValueError(f"continue key is not valid: encoded start key empty (version {TOKEN_VERSION})")
    rooted = start if start.startswith("/") else "/" + start
    if posixpath.normpath(rooted.rstrip("/")) != (rooted.rstrip("/") or "/"):
        raise ValueError(f"continue key is not valid: {start}")
    return rooted[1:], revision


def expired(options: ListOptions) -> errors.Expired:
    """The 410 for a list at a compacted revision. A continued one is given a token to go on with, inconsistently."""
    if not options.continued:
        return errors.Expired("The resourceVersion for the provided list is too old.")
    return errors.Expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
        "parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided "
        "token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was "
        "returned and now may show up in the list.",
        continue_token=encode_token(options.start, -1),
    )
