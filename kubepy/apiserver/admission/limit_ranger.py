"""LimitRanger: gives containers the namespace's default requests and limits, and refuses what is out of its bounds.

Source: `plugin/pkg/admission/limitranger`.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubepy.api.quantity import Quantity, quantity
from kubepy.api.quota import container_list, pod_totals
from kubepy.api.resource import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation

_ANNOTATION = "kubernetes.io/limit-ranger"
Quantities = Mapping[str, Quantity]


class LimitRanger(Plugin):
    name = "LimitRanger"
    mutates = True
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        if same(resource, PODS):
            return (operation, subresource) in (("CREATE", ""), ("UPDATE", "resize"))
        return same(resource, PERSISTENT_VOLUME_CLAIMS) and subresource == "" and operation in ("CREATE", "UPDATE")

    async def admit(self, attributes: Attributes) -> None:
        if attributes.obj is None or attributes.operation != "CREATE" or not same(attributes.context.kind.resource, PODS):
            return
        for limit_range in await self._ranges(attributes.namespace):
            set_defaults(attributes.obj, limit_range)

    async def admit_valid(self, attributes: Attributes) -> None:
        if attributes.obj is None or attributes.obj["metadata"].get("deletionTimestamp"):
            return
        check = pod_problems if same(attributes.context.kind.resource, PODS) else claim_problems
        for limit_range in await self._ranges(attributes.namespace):
            problems = list(check(attributes.obj, limit_range))
            if problems:
                raise refuse(attributes, problems[0] if len(problems) == 1 else f"[{', '.join(dict.fromkeys(problems))}]")

    async def _ranges(self, namespace: str) -> list[Object]:
        page = await self.services.store(LIMIT_RANGES).list(namespace, resource_version="0")
        return [entry.decode() for entry in page.entries]


def set_defaults(pod: Object, limit_range: Object) -> None:
    limits: dict[str, str] = {}
    requests: dict[str, str] = {}
    for item in _limits(limit_range, "Container"):
        requests.update(item.get("defaultRequest") or {})
        limits.update(item.get("default") or {})
    notes: list[str] = []
    for title, field in (("container", "containers"), ("init container", "initContainers")):
        for container in pod.get("spec", {}).get(field) or ():
            for side, defaults, word in (("requests", requests, "request"), ("limits", limits, "limit")):
                given = (container.get("resources") or {}).get(side) or {}
                missing = sorted(name for name in defaults if name not in given)
                if missing:
                    resources = container["resources"] = dict(container.get("resources") or {})
                    resources[side] = {**given, **{name: defaults[name] for name in missing}}
                    notes.append(f"{', '.join(missing)} {word} for {title} {container.get('name', '')}")
    if notes:
        metadata = pod["metadata"]
        metadata["annotations"] = {**(metadata.get("annotations") or {}), _ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}"}


def pod_problems(pod: Object, limit_range: Object) -> Iterator[str]:
    for item in _limits(limit_range, "Container"):
        for container in container_list(pod):
            resources = container.get("resources") or {}
            yield from _problems(item, "Container", _parsed(resources.get("requests")), _parsed(resources.get("limits")))
    for item in _limits(limit_range, "Pod"):
        yield from _problems(item, "Pod", pod_totals(pod, "requests"), pod_totals(pod, "limits"))


def claim_problems(claim: Object, limit_range: Object) -> Iterator[str]:
    requests = _parsed(((claim.get("spec") or {}).get("resources") or {}).get("requests"))
    for item in _limits(limit_range, "PersistentVolumeClaim"):
        for name, bound in sorted(_parsed(item.get("min")).items()):
            yield from _minimum("PersistentVolumeClaim", name, bound, requests.get(name), None)
        for name, bound in sorted(_parsed(item.get("max")).items()):
            head = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
            request = requests.get(name)
            if request is None:
                yield f"{head}.  No request is specified"
            elif request > bound:
                yield f"{head}, but request is {request}"


def _problems(item: Object, kind: str, requests: Quantities, limits: Quantities) -> Iterator[str]:
    for name, bound in sorted(_parsed(item.get("min")).items()):
        yield from _minimum(kind, name, bound, requests.get(name), limits.get(name))
    for name, bound in sorted(_parsed(item.get("max")).items()):
        head = f"maximum {name} usage per {kind} is {bound}"
        limit, request = limits.get(name), requests.get(name)
        if limit is None:
            yield f"{head}.  No limit is specified"
        elif limit > bound:
            yield f"{head}, but limit is {limit}"
        elif request is not None and request > bound:
            yield f"{head}, but request is {request}"
    for name, bound in sorted(_parsed(item.get("maxLimitRequestRatio")).items()):
        head = f"{name} max limit to request ratio per {kind} is {bound}"
        limit, request = limits.get(name), requests.get(name)
        if not request:
            yield f"{head}, but no request is specified or request is 0"
        elif not limit:
            yield f"{head}, but no limit is specified or limit is 0"
        elif limit.nano / request.nano > bound.as_float():
            yield f"{head}, but provided ratio is {limit.nano / request.nano:f}"


def _minimum(kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterator[str]:
    head = f"minimum {name} usage per {kind} is {bound}"
    if request is None:
        yield f"{head}.  No request is specified"
    elif request < bound:
        yield f"{head}, but request is {request}"
    elif limit is not None and limit < bound:
        yield f"{head}, but limit is {limit}"


def _limits(limit_range: Object, kind: str) -> list[Object]:
    return [item for item in (limit_range.get("spec") or {}).get("limits") or () if item.get("type") == kind]


def _parsed(values: Mapping[str, Any] | None) -> dict[str, Quantity]:
    return {name: quantity(value) for name, value in (values or {}).items()}
