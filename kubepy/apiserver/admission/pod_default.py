"""Small plugins that complete pods and nodes: DefaultTolerationSeconds, RuntimeClass, TaintNodesByCondition, PodTopologyLabels."""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.quantity import quantity
from kubepy.api.resource import NODES, PODS, RUNTIME_CLASSES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services

_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class DefaultTolerationSeconds(Plugin):
    """Pods stay five minutes on a node that is not ready or unreachable, unless they say otherwise."""

    name = "DefaultTolerationSeconds"
    mutates = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._seconds = {_NOT_READY: services.not_ready_toleration_seconds, _UNREACHABLE: services.unreachable_toleration_seconds}

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and subresource == "" and operation in ("CREATE", "UPDATE")

    async def admit(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        spec = attributes.obj.setdefault("spec", {})
        tolerations = list(spec.get("tolerations") or ())
        for key in (_NOT_READY, _UNREACHABLE):
            for item in tolerations:
                if item.get("key") in (key, None, "") and item.get("effect") in ("NoExecute", None, ""):
                    break
            else:
                tolerations.append({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": self._seconds[key]})
        if tolerations:
            spec["tolerations"] = tolerations


class TaintNodesByCondition(Plugin):
    """A new node is not ready until its conditions say so."""

    name = "TaintNodesByCondition"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, NODES) and subresource == "" and operation == "CREATE"

    async def admit(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        spec = attributes.obj.setdefault("spec", {})
        taints = list(spec.get("taints") or ())
        if not any(taint.get("key") == _NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, {"key": _NOT_READY, "effect": "NoSchedule"}]


class RuntimeClass(Plugin):
    """Gives a pod its runtime class's overhead, node selector and tolerations (`plugin/pkg/admission/runtimeclass`)."""

    name = "RuntimeClass"
    mutates = True
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and subresource == "" and operation == "CREATE"

    async def admit(self, attributes: Attributes) -> None:
        if attributes.obj is None or (found := await self._class(attributes, attributes.obj)) is None:
            return
        spec = attributes.obj["spec"]
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            given = spec.get("overhead")
            if given and not _equal(given, overhead):
                raise refuse(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = overhead
        scheduling = found.get("scheduling") or {}
        selector = spec.get("nodeSelector") or {}
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if key in selector and selector[key] != value:
                raise refuse(attributes, f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                                         f"pod.spec.nodeSelector[{key}] = {selector[key]}")
        if scheduling.get("nodeSelector"):
            spec["nodeSelector"] = {**selector, **scheduling["nodeSelector"]}
        if scheduling.get("tolerations"):
            have = list(spec.get("tolerations") or ())
            spec["tolerations"] = have + [item for item in scheduling["tolerations"] if item not in have]

    async def admit_valid(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        given = attributes.obj["spec"].get("overhead")
        found = await self._class(attributes, attributes.obj)
        overhead = ((found or {}).get("overhead") or {}).get("podFixed")
        if given and not overhead:
            raise refuse(attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        if overhead and not _equal(given or {}, overhead):
            raise refuse(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    async def _class(self, attributes: Attributes, pod: Object) -> Object | None:
        name = (pod.get("spec") or {}).get("runtimeClassName")
        if not name:
            return None
        store = self.services.store(RUNTIME_CLASSES)
        try:
            return (store.cached("", name) or await store.get("", name)).decode()
        except NotFound:
            raise refuse(attributes, f'pod rejected: RuntimeClass "{name}" not found') from None


class PodTopologyLabels(Plugin):
    """A pod gets its node's zone and region as labels when it is bound, or created bound."""

    name = "PodTopologyLabels"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PODS) and operation == "CREATE" and subresource in ("", "binding")

    async def admit(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if obj is None:
            return
        target = obj.get("target") or {}
        node = target.get("name") if attributes.subresource == "binding" else (obj.get("spec") or {}).get("nodeName")
        if not node or (attributes.subresource == "binding" and target.get("kind") not in (None, "", "Node")):
            return
        entry = self.services.store(NODES).cached("", node)
        labels = {key: entry.labels[key] for key in _TOPOLOGY if key in entry.labels} if entry is not None else {}
        if labels:
            metadata = obj.setdefault("metadata", {})
            metadata["labels"] = {**(metadata.get("labels") or {}), **labels}


def _equal(one: Object, other: Object) -> bool:
    return {key: quantity(value) for key, value in one.items()} == {key: quantity(value) for key, value in other.items()}
