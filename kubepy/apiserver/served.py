"""Which built-in kinds a server serves: the default ones, and by `--runtime-config` versions and kinds that are off by default.

`group/version=true`, `group/version/resource=true`, and `api/all`, `api/ga`, `api/beta`, `api/alpha` for whole stages; the more exact
setting wins. What has a feature gate needs it as well. Upstream: `k8s.io/apiserver/pkg/server/resourceconfig`.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.optional import OPTIONAL
from kubepy.apiserver.registry.table import KINDS
from kubepy.base.gate import Gates

_VALUES = {"": True, "true": True, "false": False}
_STAGES = {"api/all": "", "api/ga": "ga", "api/beta": "beta", "api/alpha": "alpha"}
_LEGACY = "api/legacy"


def stage(version: str) -> str:
    found = re.fullmatch(r"v\d+(alpha|beta)\d+", version)
    return found[1] if found else "ga"


def settings(words: Iterable[str]) -> dict[str, bool]:
    """Raises ValueError for values that are no booleans, and for groups that nobody knows."""
    found: dict[str, bool] = {}
    for word in words:
        name, _, value = word.partition("=")
        if value not in _VALUES:
            raise ValueError(f"invalid value of --runtime-config {name}={value}: must be true or false")
        found[name] = _VALUES[value]
    groups = {kind.resource.group for kind in (*KINDS, *(item.kind for item in OPTIONAL))}
    unknown = sorted({group for name in found if name not in _STAGES and name != _LEGACY and (group := _group(name)) not in groups})
    if unknown:
        raise ValueError(f"unknown api groups {','.join(unknown)}")
    return found


def _group(name: str) -> str:
    name = name.removeprefix("api/") if name.startswith("api/v") else name
    return name.split("/")[0] if "/" in name and not name.startswith("v1/") else "" if name.split("/")[0] == "v1" else name


def served(words: Iterable[str], features: Gates) -> list[Kind]:
    """In the order of the tables, so that a group's default version stays the preferred one. Raises ValueError (see `settings`)."""
    asked = settings(words)
    found = [kind for kind in KINDS if _wanted(asked, kind, True)]
    return found + [item.kind for item in OPTIONAL if features.enabled(item.gate) and _wanted(asked, item.kind, False)]


def _wanted(asked: Mapping[str, bool], kind: Kind, default: bool) -> bool:
    resource = kind.resource
    names = [f"{resource.api_version}/{resource.plural}", resource.api_version]
    if not resource.group:
        names += [f"api/{name}" for name in names]
    names += [f"api/{stage(resource.version)}", "api/all"]
    return next((asked[name] for name in names if name in asked), default)
