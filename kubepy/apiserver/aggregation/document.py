"""What the others add to our discovery and OpenAPI documents. Pure."""
from __future__ import annotations

from typing import Any

from kubepy.api.types import Object
from kubepy.apiserver.aggregation.table import Remote

_LOCAL_PRIORITY = 1000
"""Of groups that custom resource definitions brought."""
CUSTOM_PRIORITY = 100
"""Of their versions."""


def group_priority(remotes: list[Remote]) -> int:
    return max((remote.group_priority for remote in remotes), default=_LOCAL_PRIORITY)


def resource_list(remote: Remote) -> Object:
    """One version in aggregated discovery: from its APIResourceList, or Stale while it cannot be asked."""
    entry: dict[str, Any] = {"version": remote.version}
    resources = aggregated(remote) if remote.resources else []
    if resources:
        entry["resources"] = resources
    return {**entry, "freshness": "Current" if remote.available and remote.resources is not None else "Stale"}


def aggregated(remote: Remote) -> list[Object]:
    """APIResources as APIResourceDiscovery."""
    found: dict[str, dict[str, Any]] = {}
    for item in remote.resources or ():
        name, _, sub = str(item.get("name", "")).partition("/")
        kind = {"group": item.get("group") or remote.group, "version": item.get("version") or remote.version, "kind": item.get("kind", "")}
        scope = "Namespaced" if item.get("namespaced") else "Cluster"
        if sub:
            parent = found.setdefault(name, {"resource": name, "scope": scope, "singularResource": "", "verbs": []})
            parent.setdefault("subresources", []).append(
                {"subresource": sub, "responseKind": kind, "verbs": sorted(item.get("verbs") or ())})
            continue
        entry = found.setdefault(name, {})
        entry |= {"resource": name, "responseKind": kind, "scope": scope, "singularResource": item.get("singularName", ""),
                  "verbs": sorted(item.get("verbs") or ())}
        for key in ("shortNames", "categories"):
            if item.get(key):
                entry[key] = list(item[key])
    return [found[name] for name in sorted(found)]


def merge_swagger(ours: Object, remotes: list[Remote]) -> Object:
    """Our OpenAPI v2 with the paths of the remotes' groups and the definitions they bring; ours win where names are the same."""
    paths, definitions = dict(ours.get("paths") or {}), dict(ours.get("definitions") or {})
    for remote in remotes:
        if remote.swagger is None:
            continue
        prefixes = (f"/apis/{remote.group}/", remote.path)
        for path, item in (remote.swagger.get("paths") or {}).items():
            if path.startswith(prefixes) or path == f"/apis/{remote.group}":
                paths.setdefault(path, item)
        for name, definition in (remote.swagger.get("definitions") or {}).items():
            definitions.setdefault(name, definition)
    return {**ours, "paths": dict(sorted(paths.items())), "definitions": dict(sorted(definitions.items()))}
