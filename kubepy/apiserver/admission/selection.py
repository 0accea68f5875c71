"""Which requests webhooks, policies and bindings are for: rules, what they leave out, and selectors, read once."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.api.selector import NOTHING, LabelSelector, SelectorError, from_object
from kubepy.api.types import Object
from kubepy.apiserver.admission import match
from kubepy.apiserver.admission.namespace import namespace_object
from kubepy.apiserver.admission.view import equivalents
from kubepy.apiserver.request import Attributes
from kubepy.apiserver.services import Services
from kubepy.base.log import get_logger

log = get_logger("admission")


class Selection:
    """`matchResources`, or the like of a webhook; one without rules selects everything where they are `optional`."""

    __slots__ = ("exact", "excluded", "namespaces", "objects", "optional", "rules")

    def __init__(self, found: Object, *, optional: bool = False) -> None:
        self.optional = optional
        self.rules: list[Object] = found.get("resourceRules") or found.get("rules") or []
        self.excluded: list[Object] = found.get("excludeResourceRules") or []
        self.exact = found.get("matchPolicy") == "Exact"
        self.namespaces = _selector(found, "namespaceSelector")
        self.objects = _selector(found, "objectSelector")

    async def resource(self, services: Services, attributes: Attributes) -> Resource | None:
        """As which resource the request is selected, None when it is not. Raises NotFound for its namespace."""

        def others(resource: Resource) -> list[Resource]:
            return equivalents(services, resource)

        own = attributes.context.kind.resource
        found = match.Selected(own) if self.optional and not self.rules else match.select(self.rules, self.exact, attributes, others)
        if found is None or match.select(self.excluded, self.exact, attributes, others) is not None:
            return None
        if not match.object_matches(self.objects, attributes):
            return None
        if not self.namespaces.empty:
            namespace = await namespace_object(services, attributes)
            if namespace is not None and not self.namespaces.matches(match.labels_of(namespace)):
                return None
        return found.resource


def _selector(found: Object, key: str) -> LabelSelector:
    try:
        return from_object(found.get(key) or {})
    except SelectorError as error:
        log.error("A selector of admission cannot be read and selects nothing", error, selector=key)
        return NOTHING
