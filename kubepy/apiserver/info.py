"""Request paths as Kubernetes reads them (`RequestInfoFactory.NewRequestInfo`)."""
from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_plus

from kubepy.apiserver.request import RequestInfo

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_LONG_NAMES = frozenset(("status", "finalize"))
_FALSE = frozenset(("", "0", "false", "False", "FALSE", "F", "f"))
Query = Mapping[str, list[str]]
EMPTY: Query = {}


def parse_query(query: bytes) -> Query:
    """Parameters in order. Pairs with a semicolon or a broken escape are dropped, as Go's url.ParseQuery does."""
    if not query:
        return EMPTY
    found: dict[str, list[str]] = {}
    for pair in query.decode("latin-1").split("&"):
        if not pair or ";" in pair:
            continue
        name, _, value = pair.partition("=")
        if "%" in pair:
            if _broken(pair):
                continue
            name, value = unquote_plus(name), unquote_plus(value)
        elif "+" in pair:
            name, value = name.replace("+", " "), value.replace("+", " ")
        found.setdefault(name, []).append(value)
    return found


def _broken(text: str) -> bool:
    position = text.find("%")
    while position >= 0:
        digits = text[position + 1:position + 3]
        if len(digits) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            return True
        position = text.find("%", position + 3)
    return False


def first(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def true(query: Query, name: str) -> bool:
    """Go's conversion of a query parameter to bool: there, and neither empty, 0 nor false."""
    values = query.get(name)
    if values is None:
        return False
    return values[0].lower() not in ("false", "0") if values[0] else True


def parse(method: str, path: str, query: Query) -> RequestInfo:
    parts = [part for part in path.strip("/").split("/")] if path.strip("/") else []
    info = RequestInfo(path, method.lower())
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return info
    if parts[0] == "apis":
        if len(parts) < 4:
            return info
        info.group = parts[1]
        rest = parts[2:]
    else:
        rest = parts[1:]
    info.is_resource = True
    info.version = rest[0]
    rest = rest[1:]
    info.verb = _VERBS.get(method, "")
    if rest[0] in ("watch", "proxy") and len(rest) > 1:
        info.verb = rest[0]
        rest = rest[1:]
    if rest[0] == "namespaces":
        if len(rest) > 1:
            info.namespace = rest[1]
            if len(rest) > 2 and rest[2] not in _LONG_NAMES:
                rest = rest[2:]
    else:
        info.namespace = ""
    info.parts = tuple(rest)
    info.resource = rest[0]
    if len(rest) > 1:
        info.name = rest[1]
    if len(rest) > 2:
        info.subresource = rest[2]
    if query:
        info.label_selector = first(query, "labelSelector")
        info.field_selector = first(query, "fieldSelector")
    if not info.name and info.verb == "get":
        info.verb = "watch" if "watch" in query and true(query, "watch") else "list"
        if info.field_selector:
            info.name = _selected_name(info.field_selector)
    elif not info.name and info.verb == "delete":
        info.verb = "deletecollection"
    return info


def _selected_name(selector: str) -> str:
    """The name a selector demands, so that rules for one object apply to lists and watches of it."""
    for term in selector.split(","):
        for sign in ("==", "="):
            key, found, value = term.partition(sign)
            if found and key == "metadata.name" and "!" not in key:
                return value
    return ""
