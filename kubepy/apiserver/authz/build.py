"""Composes the authorizers of --authorization-mode."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.authz.interface import Access, Authorizer, Decision
from kubepy.apiserver.authz.node import NodeAuthorizer, node_name
from kubepy.apiserver.authz.rbac import Rbac, join_errors
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.task import Tasks

MODES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")


class Fixed:
    """AlwaysAllow and AlwaysDeny."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def authorize(self, access: Access) -> Decision:
        return self._decision

    async def ready(self) -> None: ...


class Union:
    """Members of system:masters may do everything; otherwise the first authorizer with an opinion decides."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, access: Access) -> Decision:
        if "system:masters" in access.user.groups:
            return Decision("allow")
        reasons: list[str] = []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(access)
            if decision.verdict != "no opinion":
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision("no opinion", "\n".join(reasons))

    async def ready(self) -> None:
        for authorizer in self._authorizers:
            await authorizer.ready()

    def rules_for(self, user: User, namespace: str) -> tuple[list[Object], list[str], bool]:
        """A user's rules in a namespace, what went wrong, and whether they may be incomplete (for rules reviews)."""
        rules: list[Object] = []
        errors: list[str] = []
        incomplete = False
        for authorizer in self._authorizers:
            if isinstance(authorizer, NodeAuthorizer) and node_name(user) is not None:
                errors.append("node authorizer does not support user rule resolution")
                incomplete = True
            elif isinstance(authorizer, Rbac):
                found, problems = authorizer.rules_for(user, namespace)
                rules += found
                if problems:
                    errors.append(join_errors(problems))
            elif isinstance(authorizer, Fixed) and authorizer is ALWAYS_ALLOW:
                rules += [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        return rules, errors, incomplete


ALWAYS_ALLOW = Fixed(Decision("allow"))
ALWAYS_DENY = Fixed(Decision("no opinion", "Everything is forbidden."))


def build(modes: Sequence[str], stores: Mapping[Resource, ResourceStore], tasks: Tasks,
          webhook: Authorizer | None = None) -> tuple[Union, Rbac]:
    """The authorizer for the modes, in their order, and RBAC (which escalation checks always need). Raises ValueError."""
    rbac = Rbac()
    rbac.start(stores, tasks)
    authorizers: list[Authorizer] = []
    for mode in modes:
        if mode == "AlwaysAllow":
            authorizers.append(ALWAYS_ALLOW)
        elif mode == "AlwaysDeny":
            authorizers.append(ALWAYS_DENY)
        elif mode == "RBAC":
            authorizers.append(rbac)
        elif mode == "Node":
            node = NodeAuthorizer()
            node.start(stores, tasks)
            authorizers.append(node)
        elif mode == "Webhook" and webhook is not None:
            authorizers.append(webhook)
        else:
            raise ValueError(f"authorization-mode {mode!r} is not supported (one of {', '.join(MODES)})")
    return Union(authorizers), rbac
