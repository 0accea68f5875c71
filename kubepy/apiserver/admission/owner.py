"""OwnerReferencesPermissionEnforcement: an object's owners are changed by those who could delete it, and a blocking owner must allow it.

Source: `plugin/pkg/admission/gc`. Off by default."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.request import Attributes, Operation


class OwnerReferencesPermissionEnforcement(Plugin):
    name = "OwnerReferencesPermissionEnforcement"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return operation in ("CREATE", "UPDATE") and (resource.plural, subresource) not in (("pods", "status"), ("nodes", "status"))

    async def admit_valid(self, attributes: Attributes) -> None:
        before, after = _owners(attributes.old), _owners(attributes.obj)
        if before == after:
            return
        own = attributes.context.kind.resource
        if attributes.operation == "UPDATE" and not await self._may(attributes, "delete", own, attributes.name):
            raise refuse(attributes, "cannot set an ownerRef on a resource you can't delete: , <nil>")
        blocking_before = {owner.get("uid") for owner in before if owner.get("blockOwnerDeletion")}
        for owner in after:
            if not owner.get("blockOwnerDeletion") or owner.get("uid") in blocking_before:
                continue
            resource = self._resource_of(owner)
            if resource is None:
                raise refuse(attributes, f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
                                         f"{owner.get('apiVersion')} Kind {owner.get('kind')}")
            if not await self._may(attributes, "update", resource, owner.get("name", ""), "finalizers"):
                raise refuse(attributes, "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set "
                                         "finalizers on: , <nil>")

    async def _may(self, attributes: Attributes, verb: str, resource: Resource, name: str, subresource: str = "") -> bool:
        assert self.services.authorizer is not None
        access = Access(attributes.context.user, verb, resource.group, resource.version, resource.plural, subresource,
                        attributes.namespace if resource.namespaced else "", name)
        return (await self.services.authorizer.authorize(access)).allowed

    def _resource_of(self, owner: Object) -> Resource | None:
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        return next((resource for resource in self.services.stores
                     if (resource.group, resource.version, resource.kind) == (group, version, owner.get("kind"))), None)


def _owners(obj: Object | None) -> list[Object]:
    return list(((obj or {}).get("metadata") or {}).get("ownerReferences") or ())
