"""RBAC rules: matching one request, and covering one set of rules by another (`k8s.io/component-helpers/auth/rbac/validation`)."""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from kubepy.api.types import Object

ANY = "*"


def resource_matches(rules: Iterable[str], resource: str, subresource: str = "") -> bool:
    """`*`, the exact `resource/subresource`, or `*/subresource`."""
    full = f"{resource}/{subresource}" if subresource else resource
    return any(rule in (ANY, full) or (subresource != "" and rule == f"*/{subresource}") for rule in rules)


def path_matches(rules: Iterable[str], path: str) -> bool:
    """`*`, the exact path, or a prefix that ends in `*`."""
    return any(rule in (ANY, path) or (rule.endswith(ANY) and path.startswith(rule.rstrip(ANY))) for rule in rules)


def uncovered(owner: Sequence[Object], servant: Sequence[Object]) -> list[Object]:
    """The single-verb, single-resource parts of `servant` that no rule of `owner` covers."""
    parts = itertools.chain.from_iterable(map(_break_down, servant))
    return [part for part in parts if not any(_covers(rule, part) for rule in owner)]


def compact(rules: Sequence[Object]) -> list[Object]:
    """Joins rules that differ only in their verbs, in the order first seen."""
    merged: dict[tuple[str, ...], Object] = {}
    result: list[Object] = []
    for rule in rules:
        groups, resources, names = rule.get("apiGroups") or [], rule.get("resources") or [], rule.get("resourceNames") or []
        if rule.get("nonResourceURLs") or len(groups) != 1 or len(resources) != 1 or len(names) > 1:
            result.append(rule)
            continue
        key = (groups[0], resources[0], *names)
        if (found := merged.get(key)) is None:
            merged[key] = found = {**rule, "verbs": list(rule.get("verbs") or [])}
            result.append(found)
        else:
            found["verbs"] += [verb for verb in rule.get("verbs") or [] if verb not in found["verbs"]]
    return result


def describe(rules: Sequence[Object]) -> list[str]:
    """Rules as escalation errors print them, in upstream's order."""
    return sorted(_compact_string(rule) for rule in compact(rules))


def _break_down(rule: Object) -> Iterable[Object]:
    verbs = rule.get("verbs") or []
    names = rule.get("resourceNames") or []
    for group, resource, verb in itertools.product(rule.get("apiGroups") or [], rule.get("resources") or [], verbs):
        part: Object = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        if names:
            yield from ({**part, "resourceNames": [name]} for name in names)
        else:
            yield part
    for url, verb in itertools.product(rule.get("nonResourceURLs") or [], verbs):
        yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(owner: Object, part: Object) -> bool:
    if not _has_all(owner.get("verbs"), part.get("verbs")):
        return False
    if urls := part.get("nonResourceURLs"):
        owned = owner.get("nonResourceURLs") or []
        return all(url in owned or path_matches([rule for rule in owned if rule.endswith(ANY)], url) for url in urls)
    if not _has_all(owner.get("apiGroups"), part.get("apiGroups")):
        return False
    for resource in part["resources"]:
        name, _, subresource = resource.partition("/")
        if not resource_matches(owner.get("resources") or [], name, subresource):
            return False
    names, owned_names = part.get("resourceNames") or [], owner.get("resourceNames") or []
    return not owned_names or (bool(names) and all(name in owned_names for name in names))


def _has_all(owned: Sequence[str] | None, wanted: Sequence[str] | None) -> bool:
    owned = owned or ()
    return ANY in owned or all(item in owned for item in wanted or ())


def _compact_string(rule: Object) -> str:
    parts = [f"{title}:{go_list(rule[key])}" for key, title in (
        ("apiGroups", "APIGroups"), ("resources", "Resources"), ("nonResourceURLs", "NonResourceURLs"),
        ("resourceNames", "ResourceNames"), ("verbs", "Verbs")) if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def go_list(values: Sequence[Any]) -> str:
    """A list of strings as Go's %q prints it: `["a" "b"]`."""
    return "[" + " ".join(orjson.dumps(value).decode() for value in values) + "]"
