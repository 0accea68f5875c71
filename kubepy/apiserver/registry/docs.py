"""Descriptions of fields, from the published schema, for the columns of tables."""
from __future__ import annotations

from functools import cache, lru_cache

from kubepy.api.schema.definitions import definition, names
from kubepy.api.types import Object

_PREFIXES = ("io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s.apimachinery.pkg.", "io.k8s.apiextensions-apiserver.pkg.apis.",
             "io.k8s.kube-aggregator.pkg.apis.")


@cache
def _by_short_name() -> dict[str, str]:
    """`apps.v1.DeploymentSpec` and `meta.v1.ObjectMeta` are what the kinds call them."""
    return {_short(name): name for name in names()}


def _short(name: str) -> str:
    return next((name[len(prefix):] for prefix in _PREFIXES if name.startswith(prefix)), name)


@lru_cache(maxsize=2)
def _properties(short: str) -> Object:
    found: Object = definition(_by_short_name()[short])["properties"]
    return found


def doc(path: str) -> str:
    """The description of a field, as in `apps.v1.DeploymentStatus.updatedReplicas`."""
    short, _, field = path.rpartition(".")
    text = _properties(short)[field].get("description", "")
    assert isinstance(text, str)
    return text
