"""What an object of a kind is before anything was set: the zero value of its Go type, as it is written."""
from __future__ import annotations

from functools import cache

import orjson

from kubepy.api.schema.decode import decode
from kubepy.api.schema.shape import of_kind
from kubepy.api.types import Object
from kubepy.apiserver.registry.kind import Kind


@cache
def _encoded(api_version: str, kind: str) -> bytes:
    found: Object = {"apiVersion": api_version, "kind": kind, "metadata": {}}
    group, _, version = api_version.rpartition("/")
    shape = of_kind(group, version, kind)
    if shape is not None:  # what decoding writes of structs that are not there
        found, _ = decode(shape, found, validation="Ignore")
    if api_version == "apps/v1" and kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"):
        found["spec"]["selector"] = None
        if kind != "DaemonSet":  # a number inside the server, so that no number is a zero
            found["spec"]["replicas"] = 0
    return orjson.dumps(found)


def zero_of(api_version: str, kind: str) -> Object:
    """A fresh zero value."""
    found: Object = orjson.loads(_encoded(api_version, kind))
    return found


def zero(kind: Kind) -> Object:
    return zero_of(kind.resource.api_version, kind.resource.kind)
