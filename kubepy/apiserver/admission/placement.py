"""Where a namespace's pods may run: PodNodeSelector, PodTolerationRestriction, ExtendedResourceToleration and
LimitPodHardAntiAffinityTopology. All off by default.

Source: `plugin/pkg/admission/{podnodeselector,podtolerationrestriction,extendedresourcetoleration,antiaffinity}`."""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import PODS, Resource
from kubepy.api.selector import SelectorError, parse_labels
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.admission.namespace import namespace_object
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services

_SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULT = "scheduler.alpha.kubernetes.io/defaultTolerations"
_ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_HOST = "kubernetes.io/hostname"


class _PodPlugin(Plugin):
    mutates = True
    operations: tuple[Operation, ...] = ("CREATE",)

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and subresource == "" and operation in self.operations

    async def annotation(self, attributes: Attributes, key: str) -> str:
        """Of the pod's namespace, "" for none."""
        found = await namespace_object(self.services, attributes)
        return str((((found or {}).get("metadata") or {}).get("annotations") or {}).get(key) or "")


class PodNodeSelector(_PodPlugin):
    """Adds the namespace's node selector, and refuses pods that ask for other nodes."""

    name = "PodNodeSelector"
    validates = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        given = services.admission.get(self.name) or {}
        self._given: dict[str, str] = given.get("podNodeSelectorPluginConfig") or {}

    async def _wanted(self, attributes: Attributes) -> dict[str, str]:
        found = await namespace_object(self.services, attributes)
        notes = ((found or {}).get("metadata") or {}).get("annotations") or {}
        text = notes[_SELECTOR] if _SELECTOR in notes else self._given.get("clusterDefaultNodeSelector") or ""
        return _pairs(attributes, str(text))

    async def admit(self, attributes: Attributes) -> None:
        spec = (attributes.obj or {}).setdefault("spec", {})
        wanted, own = await self._wanted(attributes), spec.get("nodeSelector") or {}
        if any(own.get(key, value) != value for key, value in wanted.items()):
            raise refuse(attributes, "pod node label selector conflicts with its namespace node label selector")
        if wanted:
            spec["nodeSelector"] = {**wanted, **own}

    async def admit_valid(self, attributes: Attributes) -> None:
        spec = (attributes.obj or {}).get("spec") or {}
        wanted, own = await self._wanted(attributes), spec.get("nodeSelector") or {}
        if any(own.get(key, value) != value for key, value in wanted.items()):
            raise refuse(attributes, "pod node label selector conflicts with its namespace node label selector")
        allowed = _pairs(attributes, str(self._given.get(attributes.namespace) or ""))
        if allowed and any(allowed.get(key) != value for key, value in own.items()):
            raise refuse(attributes, "pod node label selector labels conflict with its namespace whitelist")


def _pairs(attributes: Attributes, text: str) -> dict[str, str]:
    """`a=b,c=d`; anything else is refused."""
    try:
        parsed = parse_labels(text).requirements
    except SelectorError as error:
        raise refuse(attributes, str(error)) from error
    if any(item.operator not in ("=", "==") for item in parsed):
        raise refuse(attributes, f"invalid selector: [{text}]")
    return {item.key: item.values[0] for item in parsed}


class PodTolerationRestriction(_PodPlugin):
    """Adds the namespace's default tolerations, and refuses those that its list does not hold."""

    name = "PodTolerationRestriction"
    validates = True
    operations = ("CREATE", "UPDATE")

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._given: dict[str, Any] = services.admission.get(self.name) or {}

    async def _listed(self, attributes: Attributes, annotation: str, field: str) -> list[Object] | None:
        text = await self.annotation(attributes, annotation)
        if not text:
            return self._given.get(field)
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ApiError(str(error), reason="") from error
        return found if isinstance(found, list) else None

    async def admit(self, attributes: Attributes) -> None:
        spec = (attributes.obj or {}).setdefault("spec", {})
        own: list[Object] = list(spec.get("tolerations") or ())
        if attributes.operation == "CREATE":
            defaults = await self._listed(attributes, _DEFAULT, "default") or []
            own = _merged(own, defaults)
        if _is_pressed(attributes.obj or {}):
            own = _merged(own, [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}])
        if own:
            spec["tolerations"] = own

    async def admit_valid(self, attributes: Attributes) -> None:
        own = ((attributes.obj or {}).get("spec") or {}).get("tolerations") or []
        allowed = await self._listed(attributes, _ALLOWED, "whitelist") if own else None
        if allowed and not all(any(_covers(item, toleration) for item in allowed) for toleration in own):
            raise ApiError("pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist",
                           reason="")


def _merged(first: list[Object], second: list[Object]) -> list[Object]:
    return first + [item for item in second if not any(_covers(other, item) for other in first)]


def _is_pressed(pod: Object) -> bool:
    """Whether a pod has resources to lose, and so stays under memory pressure: of any class but BestEffort."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any((container.get("resources") or {}).get(side) for container in containers for side in ("requests", "limits"))


def _covers(wide: Object, narrow: Object) -> bool:
    """Whether one toleration tolerates all that another does."""
    if wide.get("key") and wide.get("key") != narrow.get("key"):
        return False
    if wide.get("effect") and wide.get("effect") != narrow.get("effect"):
        return False
    if wide.get("effect") == "NoExecute" and wide.get("tolerationSeconds") is not None:
        seconds = narrow.get("tolerationSeconds")
        if seconds is None or seconds > wide["tolerationSeconds"]:
            return False
    if (wide.get("operator") or "Equal") == "Exists":
        return True
    return (narrow.get("operator") or "Equal") == "Equal" and (wide.get("value") or "") == (narrow.get("value") or "")


class ExtendedResourceToleration(_PodPlugin):
    """Lets pods that ask for extended resources onto nodes that are kept for those."""

    name = "ExtendedResourceToleration"
    operations = ("CREATE", "UPDATE")

    async def admit(self, attributes: Attributes) -> None:
        spec = (attributes.obj or {}).setdefault("spec", {})
        asked = {resource for kind in ("containers", "initContainers") for container in spec.get(kind) or ()
                 for resource in ((container.get("resources") or {}).get("requests") or {}) if _is_extended(resource)}
        tolerations = list(spec.get("tolerations") or ())
        for resource in sorted(asked):
            wanted = {"key": resource, "operator": "Exists"}
            if not any(_covers(wanted, item) and item.get("operator") == "Exists" and not item.get("effect") for item in tolerations):
                tolerations.append(wanted)
        if tolerations:
            spec["tolerations"] = tolerations


def _is_extended(resource: str) -> bool:
    domain = resource.partition("/")[0]
    return "/" in resource and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io") and not resource.startswith("requests.")


class LimitPodHardAntiAffinityTopology(_PodPlugin):
    """Required anti-affinity may keep pods apart by host only: wider, it could keep everybody else out."""

    name = "LimitPodHardAntiAffinityTopology"
    mutates = False
    validates = True
    operations = ("CREATE", "UPDATE")

    async def admit_valid(self, attributes: Attributes) -> None:
        affinity = (((attributes.obj or {}).get("spec") or {}).get("affinity") or {}).get("podAntiAffinity") or {}
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            if term.get("topologyKey") != _HOST:
                raise refuse(attributes, "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                                         f"{term.get('topologyKey', '')} but only key {_HOST} is allowed")
