"""The definitions of the API's types, by upstream's names (`io.k8s.api.core.v1.Pod`), from the package `kubernetes-validate`."""
from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from kubepy.api.resource import Resource


@lru_cache(maxsize=1)
def definitions() -> dict[str, Any]:
    spec = find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.origin is not None
    path = next(Path(spec.origin).parent.rglob("v1.36.0-local/_definitions.json"))
    found: dict[str, Any] = orjson.loads(path.read_bytes())["$defs"]
    return found


@lru_cache(maxsize=1)
def _by_kind() -> dict[tuple[str, str, str], str]:
    names: dict[tuple[str, str, str], str] = {}
    for name, schema in definitions().items():
        for entry in schema.get("x-kubernetes-group-version-kind") or ():
            names.setdefault((entry["group"], entry["version"], entry["kind"]), name)
    return names


def definition_name(resource: Resource) -> str | None:
    """The definition of a resource's kind, or None for one that is not built in."""
    return _by_kind().get((resource.group, resource.version, resource.kind))
