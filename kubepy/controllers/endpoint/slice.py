"""Packing endpoints into EndpointSlices with few writes (`k8s.io/endpointslice`'s reconciler). Pure.

A slice holds endpoints of one address family and one set of ports, at most 100. Slices that must change anyway are filled
first; then one that has room for all that is left; only then new ones are made. A service without endpoints keeps one
empty slice, so that consumers can tell "none" from "not looked yet".
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from kubepy.api.hash import canonical
from kubepy.api.types import Object

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


@dataclass(slots=True)
class Group:
    """What is wanted for one family and one set of ports."""

    family: str
    ports: list[Object]
    endpoints: list[Object] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def plan(groups: Sequence[Group], existing: Sequence[Object], template: Object, families: Sequence[str], limit: int) -> Plan:
    """The writes that bring `existing` slices to hold `groups`.

    `template` is a slice without family, ports and endpoints; its labels and annotations are what each slice should have."""
    result = Plan()
    left = {id(item): item for item in existing}
    for group in groups:
        ports = _ports_key(group.ports)
        mine = [item for item in existing if item["addressType"] == group.family and _ports_key(item.get("ports")) == ports]
        for item in mine:
            left.pop(id(item), None)
        _plan_group(group, mine, template, limit, result)
    for family in families:
        if any(group.family == family and group.endpoints for group in groups):
            continue
        empty = [item for item in left.values() if item["addressType"] == family and not item.get("endpoints") and not item.get("ports")]
        if empty:
            left.pop(id(empty[0]))
            if not _has(empty[0], template):
                result.update.append(_filled(empty[0], template, []))
        else:
            result.create.append({**template, "addressType": family, "endpoints": [], "ports": []})
    result.delete += left.values()
    return result


def _plan_group(group: Group, existing: Sequence[Object], template: Object, limit: int, result: Plan) -> None:
    wanted = {_identity(item): item for item in group.endpoints}
    changing: list[tuple[Object, list[Object]]] = []
    unchanged: list[Object] = []
    for item in existing:
        kept = [wanted.pop(key) for endpoint in item.get("endpoints") or () if (key := _identity(endpoint)) in wanted]
        if not kept and item.get("endpoints"):
            changing.append((item, kept))  # to be filled or deleted
        elif canonical(kept) != canonical(item.get("endpoints") or []) or not _has(item, template):
            changing.append((item, kept))
        else:
            unchanged.append(item)
    missing = list(wanted.values())
    for _, kept in sorted(changing, key=lambda pair: -len(pair[1])):
        room = limit - len(kept)
        if missing and room > 0:
            kept += missing[:room]
            missing = missing[room:]
    if missing:
        fitting = [item for item in unchanged if len(item.get("endpoints") or ()) + len(missing) <= limit]
        if fitting:
            fullest = max(fitting, key=lambda item: len(item.get("endpoints") or ()))
            changing.append((fullest, [*(fullest.get("endpoints") or ()), *missing]))
            missing = []
    for item, kept in changing:
        if kept:
            result.update.append(_filled(item, template, kept))
        else:
            result.delete.append(item)
    for start in range(0, len(missing), limit):
        result.create.append({**template, "addressType": group.family, "ports": group.ports, "endpoints": missing[start:start + limit]})


def _identity(endpoint: Object) -> bytes:
    """Two endpoints are the same one when their addresses and their pod are."""
    reference = endpoint.get("targetRef") or {}
    return orjson.dumps([endpoint["addresses"], endpoint.get("hostname"), reference.get("namespace"), reference.get("name")])


def _ports_key(ports: Sequence[Object] | None) -> tuple[bytes, ...]:
    return tuple(sorted(orjson.dumps([item.get("name") or "", item.get("port"), item.get("protocol") or "TCP", item.get("appProtocol")])
                        for item in ports or ()))


def _has(item: Object, template: Object) -> bool:
    """Whether the slice's labels are the template's; annotations such as the trigger time are written with other changes only."""
    labels: Mapping[str, str] = item["metadata"].get("labels") or {}
    return bool(dict(labels) == template["metadata"]["labels"])


def _filled(item: Object, template: Object, endpoints: list[Object]) -> Object:
    metadata = item["metadata"]
    annotations = {**(metadata.get("annotations") or {}), **(template["metadata"].get("annotations") or {})}
    return {**item, "endpoints": endpoints, "metadata": {
        **metadata, "labels": template["metadata"]["labels"], "annotations": annotations,
        "ownerReferences": template["metadata"]["ownerReferences"]}}
