"""Composes the authorizers of --authorization-mode or --authorization-config."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.authz.configuration import TYPES, Entry
from kubepy.apiserver.authz.interface import Access, Authorizer, Decision
from kubepy.apiserver.authz.node import NodeAuthorizer, node_name
from kubepy.apiserver.authz.rbac import Rbac, join_errors
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.gate import DEFAULT, Gates
from kubepy.base.task import Tasks


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

    def replace(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, access: Access) -> Decision:
        if "system:masters" in access.user.groups:
            return Decision("allow")
        reasons: list[str] = []
        errors: list[str] = []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(access)
            if decision.verdict != "no opinion":
                return decision
            if decision.reason:
                reasons.append(decision.reason)
            if decision.error:
                errors.append(decision.error)
        return Decision("no opinion", "\n".join(reasons), join_errors(errors) if errors else "")

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


class Builder:
    """Makes authorizers by type; RBAC and Node are made once, as they follow what is stored."""

    def __init__(self, stores: Mapping[Resource, ResourceStore], tasks: Tasks, webhook: Callable[[Entry], Authorizer],
                 features: Gates = DEFAULT) -> None:
        self._stores, self._tasks, self._webhook, self._features = stores, tasks, webhook, features
        self.rbac = Rbac()
        """Started always: escalation checks need it."""
        self.rbac.start(stores, tasks)
        self._node: NodeAuthorizer | None = None

    def make(self, entries: Sequence[Entry]) -> list[Authorizer]:
        """In the given order. Raises ValueError for what cannot be used."""
        return [self._one(entry) for entry in entries]

    def _one(self, entry: Entry) -> Authorizer:
        match entry.type:
            case "AlwaysAllow":
                return ALWAYS_ALLOW
            case "AlwaysDeny":
                return ALWAYS_DENY
            case "RBAC":
                return self.rbac
            case "Webhook":
                return self._webhook(entry)
            case "Node":
                if self._node is None:
                    self._node = NodeAuthorizer(features=self._features)
                    self._node.start(self._stores, self._tasks)
                return self._node
        raise ValueError(f"authorization-mode {entry.type!r} is not supported (one of {', '.join(TYPES)})")


def reloaded(old: Sequence[Entry], new: Sequence[Entry]) -> None:
    """Raises ValueError when a changed configuration may not be taken over while running: only webhooks may come and go."""
    before, after = (sorted({entry.type for entry in entries} - {"Webhook"}) for entries in (old, new))
    if before != after:
        raise ValueError(f"authorizer types other than Webhook cannot be added or removed by a reload: {before} became {after}")
