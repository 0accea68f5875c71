"""What both policy plugins do: find the policies and bindings a request concerns, and their parameters."""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from kubepy.api.cel.function.authorization import Answers
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission import match
from kubepy.apiserver.admission.authorization import answered
from kubepy.apiserver.admission.condition import hold
from kubepy.apiserver.admission.expression import values_of
from kubepy.apiserver.admission.interface import Plugin
from kubepy.apiserver.admission.namespace import namespace_object
from kubepy.apiserver.admission.policy.definition import Binding, Policy
from kubepy.apiserver.admission.policy.evaluation import Scope
from kubepy.apiserver.admission.policy.source import Source
from kubepy.apiserver.admission.view import View
from kubepy.apiserver.request import Attributes, Operation
from kubepy.base.task import Tasks

GROUP = "admissionregistration.k8s.io"
_EXCLUDED = frozenset(("tokenreviews", "selfsubjectreviews", "subjectaccessreviews", "localsubjectaccessreviews",
                       "selfsubjectaccessreviews", "selfsubjectrulesreviews"))
"""Reviews are never looked at (upstream's excluded resources)."""


class Concern(NamedTuple):
    """A policy that is for a request, by one of its bindings, and as which resource it sees the request."""

    policy: Policy
    binding: Binding
    resource: Resource


class PolicyPlugin(Plugin):
    policies: Resource
    bindings: Resource

    def start(self, tasks: Tasks) -> None:
        self.source = Source(self.services.store(self.policies), self.services.store(self.bindings))
        for position, feed in enumerate(self.source.feeds):
            tasks.keep(feed.run, f"{self.name}/{position}", maximum=5.0)

    async def ready(self) -> None:
        for feed in self.source.feeds:
            await feed.ready.wait()

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return not match.is_exempt(resource) and not (resource.group in ("authentication.k8s.io", "authorization.k8s.io")
                                                      and resource.plural in _EXCLUDED)

    async def concerns(self, attributes: Attributes) -> AsyncIterator[Concern]:
        for policy, bindings in self.source.pairs:
            resource = await policy.selection.resource(self.services, attributes)
            if resource is None:
                continue
            for binding in bindings:
                if binding.selection is None or await binding.selection.resource(self.services, attributes) is not None:
                    yield Concern(policy, binding, resource)

    async def values(self, policy: Policy, view: View, param: Object | None, answers: Answers) -> dict[str, Any]:
        """What a policy's expressions see, but for its variables."""
        return {**values_of(view, answers, await namespace_object(self.services, view.attributes)), "params": param}

    async def scope(self, policy: Policy, view: View, param: Object | None, answers: Answers) -> Scope | None:
        """What the policy's expressions see, None when its conditions do not hold. Raises ConditionsFailed."""
        values = await self.values(policy, view, param, answers)
        user = view.attributes.context.user
        if policy.conditions and not await answered(self.services, user, answers,
                                                    lambda: hold(policy.conditions, Scope(policy, values).values),
                                                    large=view.large):
            return None
        return Scope(policy, values)
