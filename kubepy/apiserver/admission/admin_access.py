"""Devices may be asked for with `adminAccess` only in namespaces that an administrator has labelled for it.

Upstream has it in the strategies of ResourceClaim and ResourceClaimTemplate (`pkg/registry/resource`, DRAAdminAccess); here it is a
step that cannot be disabled, because strategies see no other objects.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.errors import Invalid
from kubepy.api.field import Errors, Path
from kubepy.api.resource import NAMESPACES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin
from kubepy.apiserver.request import Attributes, Operation

LABEL = "resource.kubernetes.io/admin-access"
_WHY = f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"
_SPECS = {"resourceclaims": ("spec",), "resourceclaimtemplates": ("spec", "spec")}


class AdminAccess(Plugin):
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return resource.group == "resource.k8s.io" and resource.plural in _SPECS and subresource == "" and operation == "CREATE"

    async def admit(self, attributes: Attributes) -> None:
        obj, resource = attributes.obj, attributes.context.kind.resource
        if obj is None:
            return
        errors = asked(obj, _SPECS[resource.plural])
        if not errors:
            return
        namespace = self.services.store(NAMESPACES).cached("", attributes.namespace)
        if namespace is None or namespace.labels.get(LABEL) != "true":
            raise Invalid.of(resource.group, resource.kind, attributes.name or obj["metadata"].get("name", ""), errors)


def asked(obj: Object, where: tuple[str, ...]) -> Errors:
    """A refusal for each request that asks for administrative access."""
    spec, path = obj, Path()
    for name in where:
        spec, path = spec.get(name) or {}, path.child(name)
    requests = (spec.get("devices") or {}).get("requests") or []
    path = path.child("devices", "requests")
    return [field.forbidden(path.index(number).child("adminAccess"), _WHY) for number, request in enumerate(requests)
            if isinstance(request, dict) and (request.get("exactly") or {}).get("adminAccess")]
