"""Hints: for consumers in which zone (or on which node) an endpoint is meant. Pure.

`spec.trafficDistribution` gives each endpoint its own zone or node. With the annotation `topology-mode: Auto` every zone gets a share
of the endpoints that is like its share of the nodes' CPU, so that no endpoint is overloaded by more than a fifth; where that
cannot be had, there are no hints (`k8s.io/endpointslice/topologycache`). Known difference: which endpoints serve another zone is
decided anew each time, in the order of their addresses, rather than kept from before.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from kubepy.api.pod import is_true
from kubepy.api.quantity import milli_value_of
from kubepy.api.types import Object

MODES = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
ZONE = "topology.kubernetes.io/zone"
OVERLOAD = 0.2
NO_NODE_INFORMATION = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
ONE_ZONE = "Nodes only ready in one zone"
TOO_FEW = "Insufficient number of endpoints"
OVERLOADED = "Minimum allocation of required endpoints exceeds overload threshold"
NO_ZONE = "One or more endpoints do not have a zone specified"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class Impossible(Exception):
    """Why no zone can get its share."""


def is_auto(service: Object) -> bool:
    notes = service["metadata"].get("annotations") or {}
    return next((notes[name] for name in MODES if name in notes), "") in ("Auto", "auto")


def by_distribution(endpoints: Iterable[Object], distribution: str | None) -> None:
    if distribution not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return
    for endpoint in endpoints:
        hints: Object = {}
        if endpoint.get("zone"):
            hints["forZones"] = [{"name": endpoint["zone"]}]
        if distribution == "PreferSameNode" and endpoint.get("nodeName"):
            hints["forNodes"] = [{"name": endpoint["nodeName"]}]
        if hints and endpoint["conditions"]["ready"]:
            endpoint["hints"] = hints


def facts(node: Object) -> tuple[str, int] | None:
    """(zone, thousandths of CPU; "" and 0 where not known) of a node that counts: a ready one that runs what users run."""
    labels = node["metadata"].get("labels") or {}
    if any(name in labels for name in _CONTROL_PLANE) or not is_true(node, "Ready"):
        return None
    cpu = ((node.get("status") or {}).get("allocatable") or {}).get("cpu")
    return labels.get(ZONE, ""), milli_value_of(cpu) if cpu else 0


def shares(nodes: Iterable[Object]) -> dict[str, float]:
    """Each zone's part of the nodes' CPU. Raises Impossible."""
    cpu: dict[str, int] = {}
    for node in nodes:
        found = facts(node)
        if found is None:
            continue
        if not all(found):
            raise Impossible(NO_NODE_INFORMATION)
        cpu[found[0]] = cpu.get(found[0], 0) + found[1]
    if len(cpu) < 2:
        raise Impossible(ONE_ZONE)
    total = sum(cpu.values())
    return {zone: value / total for zone, value in cpu.items()}


def by_share(endpoints: Sequence[Object], zones: Mapping[str, float]) -> None:
    """Gives the ready endpoints (all of one family) zones in proportion; own zones first. Raises Impossible."""
    ready = sorted((item for item in endpoints if item["conditions"]["ready"]), key=lambda item: item["addresses"])
    if len(ready) < len(zones):
        raise Impossible(TOO_FEW)
    wanted = {zone: share * len(ready) for zone, share in zones.items()}
    if sum(math.ceil(count / (1 + OVERLOAD)) for count in wanted.values()) > len(ready):
        raise Impossible(OVERLOADED)
    homes: dict[str, list[Object]] = {zone: [] for zone in wanted}
    for item in ready:
        if not item.get("zone"):
            raise Impossible(NO_ZONE)
        homes.setdefault(item["zone"], []).append(item)
    given = [(item, zone) for zone, items in homes.items() for item in items if zone in wanted]
    moved = _moves({zone: len(items) for zone, items in homes.items()}, wanted)
    for source, targets in moved.items():
        for target in targets:
            item = homes[source].pop()
            given = [pair for pair in given if pair[0] is not item] + [(item, target)]
    for item, zone in given:
        item["hints"] = {"forZones": [{"name": zone}]}


def _moves(have: Mapping[str, int], wanted: Mapping[str, float]) -> dict[str, list[str]]:
    """By zone with too many endpoints, the zones that get one each: from the fullest to the neediest, while it makes things evener."""
    spare = {zone: count - wanted.get(zone, 0.0) for zone, count in have.items() if count > wanted.get(zone, 0.0)}
    lacking = {zone: count - have.get(zone, 0) for zone, count in wanted.items() if count > have.get(zone, 0)}
    found: dict[str, list[str]] = {}
    while spare and lacking:
        source, target = max(sorted(spare), key=spare.__getitem__), max(sorted(lacking), key=lacking.__getitem__)
        most, need = spare[source], lacking[target]
        if min(most, need) < 0.5 or max(most, need) < 1.0:
            break
        found.setdefault(source, []).append(target)
        spare[source] -= 1
        lacking[target] -= 1
    return found
