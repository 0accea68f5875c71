"""Priority: turns a pod's priority class into its priority, and keeps the default class unique (`plugin/pkg/admission/priority`)."""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import PODS, PRIORITY_CLASSES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation

_DEFAULT_POLICY = "PreemptLowerPriority"


class Priority(Plugin):
    name = "Priority"
    mutates = True
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return subresource == "" and operation in ("CREATE", "UPDATE") and (same(resource, PODS) or same(resource, PRIORITY_CLASSES))

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.obj
        if pod is None or not same(attributes.context.kind.resource, PODS):
            return
        spec = pod.setdefault("spec", {})
        if attributes.operation == "UPDATE":
            before = (attributes.old or {}).get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and before.get(field) is not None:
                    spec[field] = before[field]
            return
        name = spec.get("priorityClassName") or ""
        found = await self._class(attributes, name) if name else await self._default()
        value = found.get("value", 0) if found else 0
        policy = (found or {}).get("preemptionPolicy") or _DEFAULT_POLICY
        if found and not name:
            spec["priorityClassName"] = found["metadata"]["name"]
        if spec.get("priority") is not None and spec["priority"] != value:
            raise refuse(attributes, f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
                                     f"priority admission controller computed {value} from the given PriorityClass name")
        if spec.get("preemptionPolicy") and spec["preemptionPolicy"] != policy:
            raise refuse(attributes, f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
                                     f"priority admission controller computed {policy} from the given PriorityClass name")
        spec["priority"] = value
        spec["preemptionPolicy"] = policy

    async def admit_valid(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if obj is None or not same(attributes.context.kind.resource, PRIORITY_CLASSES) or not obj.get("globalDefault"):
            return
        default = await self._default()
        if default and default["metadata"]["name"] != obj["metadata"].get("name"):
            name = default["metadata"]["name"]
            raise refuse(attributes, f"PriorityClass {name} is already marked as default. Only one default can exist")

    async def _class(self, attributes: Attributes, name: str) -> Object:
        store = self.services.store(PRIORITY_CLASSES)
        try:
            return (store.cached("", name) or await store.get("", name)).decode()
        except NotFound:
            raise refuse(attributes, f"no PriorityClass with name {name} was found") from None

    async def _default(self) -> Object | None:
        """The default class; the one with the lowest value should there be several."""
        page = await self.services.store(PRIORITY_CLASSES).list(None, resource_version="0",
                                                                match=lambda entry: b'"globalDefault":true' in entry.raw)
        defaults = [found for found in (entry.decode() for entry in page.entries) if found.get("globalDefault")]
        return min(defaults, key=lambda found: found.get("value", 0), default=None)
