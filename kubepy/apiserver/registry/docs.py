"""The published schema as the registry reads it: field descriptions for table columns, field types for the shape of objects.

Source: the `_definitions.json` that the package `kubernetes-validate` carries (upstream's OpenAPI definitions).
"""
from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import orjson

from kubepy.api.types import Object

_PREFIXES = ("io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s.apimachinery.pkg.", "io.k8s.apiextensions-apiserver.pkg.apis.",
             "io.k8s.kube-aggregator.pkg.apis.")
_FILE = "kubernetes-json-schema/v1.36.0-local/_definitions.json"


@cache
def definitions() -> dict[str, Object]:
    """All definitions by short name (`apps.v1.DeploymentSpec`, `meta.v1.ObjectMeta`)."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package kubernetes-validate, which carries the API's schema, is not installed")
    loaded = orjson.loads((Path(spec.origin).parent / _FILE).read_bytes())
    return {short(name): definition for name, definition in (loaded.get("$defs") or loaded.get("definitions") or loaded).items()}


def short(name: str) -> str:
    """A definition's name without its Go package path."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix):]
    return name


def doc(path: str) -> str:
    """The description of a field, as in `apps.v1.DeploymentStatus.updatedReplicas`."""
    definition, _, field = path.rpartition(".")
    text = definitions()[definition]["properties"][field].get("description", "")
    assert isinstance(text, str)
    return text
