"""Nobody hands out rights they do not have: the check on every write of RBAC's roles and bindings.

Upstream has it in RBAC's storage (`pkg/registry/rbac/…/policybased`); here it is the last mutating step and cannot be disabled.
The `escalate` verb on a role, and the `bind` verb on the role that a binding names, allow it all the same.
"""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.message import quote
from kubepy.apiserver.authz.rule import describe, go_list, uncovered
from kubepy.apiserver.request import Attributes, Operation

_GROUP = "rbac.authorization.k8s.io"
_ALL_RIGHTS = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
_BOOKKEEPING = ("finalizers", "ownerReferences", "managedFields", "resourceVersion")


class RbacEscalation(Plugin):
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return resource.group == _GROUP and subresource == "" and operation in ("CREATE", "UPDATE")

    async def admit(self, attributes: Attributes) -> None:
        user, obj = attributes.context.user, attributes.obj
        if obj is None or "system:masters" in user.groups or _only_bookkeeping(obj, attributes.old):
            return
        resource = attributes.context.kind.resource
        if same(resource, ROLES) or same(resource, CLUSTER_ROLES):
            await self._check_role(attributes, resource, obj)
        elif same(resource, ROLE_BINDINGS) or same(resource, CLUSTER_ROLE_BINDINGS):
            await self._check_binding(attributes, obj)

    async def _check_role(self, attributes: Attributes, resource: Resource, obj: Object) -> None:
        name = attributes.name or obj["metadata"].get("name", "")
        if await self._allowed(attributes, "escalate", resource.plural, attributes.namespace, name):
            return
        self._check_covered(attributes, obj.get("rules") or [])
        if (obj.get("aggregationRule") or (attributes.old or {}).get("aggregationRule")) and self._uncovered(attributes, _ALL_RIGHTS):
            raise refuse(attributes, "must have cluster-admin privileges to use the aggregationRule")

    async def _check_binding(self, attributes: Attributes, obj: Object) -> None:
        reference = obj.get("roleRef") or {}
        kind, name = reference.get("kind", ""), reference.get("name", "")
        plural = "roles" if kind == "Role" else "clusterroles"
        if await self._allowed(attributes, "bind", plural, attributes.namespace, name):
            return
        assert self.services.rbac is not None
        rules = self.services.rbac.index.rules((attributes.namespace if kind == "Role" else "", name))
        if rules is None:
            raise NotFound.of(attributes.context.kind.resource, name)
        self._check_covered(attributes, list(rules))

    async def _allowed(self, attributes: Attributes, verb: str, plural: str, namespace: str, name: str) -> bool:
        assert self.services.authorizer is not None
        access = Access(attributes.context.user, verb, _GROUP, "*", plural, namespace=namespace, name=name)
        return (await self.services.authorizer.authorize(access)).allowed

    def _uncovered(self, attributes: Attributes, rules: list[Object]) -> list[Object]:
        assert self.services.rbac is not None
        own, _ = self.services.rbac.rules_for(attributes.context.user, attributes.namespace)
        return uncovered(own, rules)

    def _check_covered(self, attributes: Attributes, rules: list[Object]) -> None:
        missing = self._uncovered(attributes, rules)
        if not missing:
            return
        user = attributes.context.user
        assert self.services.rbac is not None
        _, errors = self.services.rbac.rules_for(user, attributes.namespace)
        text = f"user {quote(user.name)} (groups={go_list(user.groups)}) is attempting to grant RBAC permissions not currently held:\n"
        text += "\n".join(describe(missing))
        if errors:
            text += f"; resolution errors: {go_list(errors)}"
        raise refuse(attributes, text)


def _only_bookkeeping(obj: Object, old: Object | None) -> bool:
    """Whether an update changes no more than what the garbage collector changes to let an object go."""
    if old is None:
        return False

    def rest(one: Object) -> Object:
        return {**one, "metadata": {key: value for key, value in one["metadata"].items() if key not in _BOOKKEEPING}}

    return rest(obj) == rest(old)
