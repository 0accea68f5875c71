"""What an object of a kind is before anything was set: the zero value of its Go type, as it is written."""
from __future__ import annotations

from functools import cache

import orjson

from kubepy.api.types import Object
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.shape import normalize


@cache
def _encoded(api_version: str, kind: str) -> bytes:
    found: Object = {"apiVersion": api_version, "kind": kind, "metadata": {}}
    normalize(found)
    return orjson.dumps(found)


def zero_of(api_version: str, kind: str) -> Object:
    """A fresh zero value."""
    found: Object = orjson.loads(_encoded(api_version, kind))
    return found


def zero(kind: Kind) -> Object:
    return zero_of(kind.resource.api_version, kind.resource.kind)
