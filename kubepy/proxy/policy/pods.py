"""The cluster's pods as policies see them: addresses, labels, named ports; found by selectors, group by group of equal labels."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from kubepy.api.selector import LabelSelector, from_object
from kubepy.api.types import Object


class Pod(NamedTuple):
    """`ports` maps a container port's name to (protocol, number); `local`: it is on this node."""

    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...]
    local: bool


Group = tuple[str, frozenset[tuple[str, str]]]
"""A namespace and a set of labels."""


class Pods:
    """Built once for each plan. Pods on the host's network are the node's traffic, which policies do not concern."""

    def __init__(self, pods: Iterable[Object], namespaces: Iterable[Object], node: str) -> None:
        self._groups: dict[Group, list[Pod]] = {}
        self._namespaces = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in namespaces}
        self._by_namespace: dict[str, list[Group]] = {}
        self._selectors: dict[bytes, LabelSelector] = {}
        self._spaces: dict[bytes, list[str]] = {}
        for pod in pods:
            spec, status = pod.get("spec") or {}, pod.get("status") or {}
            if spec.get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
                continue
            metadata = pod["metadata"]
            group = metadata["namespace"], frozenset((metadata.get("labels") or {}).items())
            if group not in self._groups:
                self._groups[group] = []
                self._by_namespace.setdefault(group[0], []).append(group)
            addresses = tuple(item["ip"] for item in status.get("podIPs") or [] if item.get("ip"))
            self._groups[group].append(Pod(addresses, _named_ports(spec), spec.get("nodeName") == node))

    def select(self, namespaces: Iterable[str], selector: Mapping[str, Any] | None) -> Iterator[Pod]:
        """The pods of these namespaces whose labels match."""
        matcher = self._selector(selector or {})
        for namespace in namespaces:
            for group in self._by_namespace.get(namespace, ()):
                if matcher.matches(dict(group[1])):
                    yield from self._groups[group]

    def namespaces(self, selector: Mapping[str, Any]) -> list[str]:
        """The namespaces whose labels match."""
        key = orjson.dumps(selector, option=orjson.OPT_SORT_KEYS)
        if key not in self._spaces:
            matcher = self._selector(selector)
            self._spaces[key] = [name for name, labels in self._namespaces.items() if matcher.matches(labels)]
        return self._spaces[key]

    def local(self) -> Iterator[Pod]:
        for group in self._groups.values():
            yield from (pod for pod in group if pod.local)

    def _selector(self, selector: Mapping[str, Any]) -> LabelSelector:
        key = orjson.dumps(selector, option=orjson.OPT_SORT_KEYS)
        if key not in self._selectors:
            self._selectors[key] = from_object(selector)
        return self._selectors[key]


def _named_ports(spec: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    sidecars = [item for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    return tuple((port["name"], port.get("protocol", "TCP").lower(), port["containerPort"])
                 for container in (*sidecars, *(spec.get("containers") or [])) for port in container.get("ports") or [] if port.get("name"))
