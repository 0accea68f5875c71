"""MutatingAdmissionPolicy (`k8s.io/apiserver/pkg/admission/plugin/policy/mutating`): requests changed by CEL, before webhooks see them.

All policies of a request are chosen first; then each changes what the ones before it left, its mutations in order. A mutation that
fails leaves the object as it was; with failurePolicy Fail the request is refused in the end.
"""
from __future__ import annotations

from functools import partial
from typing import Any

from kubepy.api.cel.function.authorization import Answers
from kubepy.api.errors import ApiError, Forbidden
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.authorization import answered
from kubepy.apiserver.admission.condition import ConditionsFailed
from kubepy.apiserver.admission.interface import refuse
from kubepy.apiserver.admission.policy.base import GROUP, Concern, PolicyPlugin
from kubepy.apiserver.admission.policy.definition import Mutation
from kubepy.apiserver.admission.policy.evaluation import Scope
from kubepy.apiserver.admission.policy.mutation import MutationFailed, mutate
from kubepy.apiserver.admission.policy.param import BadParams, params_for
from kubepy.apiserver.admission.reinvocation import Invocations
from kubepy.apiserver.admission.settle import settle
from kubepy.apiserver.admission.view import View
from kubepy.apiserver.request import Attributes
from kubepy.base.metrics import counter

_CHECKS = counter("apiserver_mutating_admission_policy_check_total", "Mutation admission policy check total, labeled by policy and "
                  "further identified by binding.", ("policy", "policy_binding", "error_type"))


class MutatingAdmissionPolicy(PolicyPlugin):
    name = "MutatingAdmissionPolicy"
    mutates = True
    policies = Resource(GROUP, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", False)
    bindings = Resource(GROUP, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", False)

    async def admit(self, attributes: Attributes) -> None:
        if not self.source.pairs or attributes.operation == "DELETE":
            return
        failures: list[tuple[Concern, str]] = []
        chosen: list[tuple[Concern, Object | None]] = []
        async for concern in self.concerns(attributes):
            try:
                chosen += [(concern, param) for param in await params_for(self.services, attributes, concern.policy, concern.binding)]
            except BadParams as error:
                failures.append((concern, f"failed to configure binding: {error}"))
        if chosen:
            failures += await self._invoke(chosen, attributes)
        for concern, _ in failures:
            _CHECKS.labels(concern.policy.name, concern.binding.name, "fail_open" if concern.policy.ignore else "fail_closed").inc()
        counted = [(concern, text) for concern, text in failures if not concern.policy.ignore]
        if counted:
            raise _denied(attributes, *counted[0])

    async def _invoke(self, chosen: list[tuple[Concern, Object | None]], attributes: Attributes) -> list[tuple[Concern, str]]:
        failures: list[tuple[Concern, str]] = []
        invocations = Invocations(attributes, self.name)
        dirty = False
        for concern, param in chosen:
            policy = concern.policy
            metadata = (param or {}).get("metadata") or {}
            key = (policy.name, concern.binding.name, metadata.get("namespace", ""), metadata.get("name", ""))
            if invocations.skips(key) or attributes.obj is None:
                continue
            view = View(self.services, attributes, concern.resource)
            answers: Answers = {}
            try:
                if await self.scope(policy, view, param, answers) is None:
                    continue
            except ConditionsFailed as error:
                failures.append((concern, str(error)))
                continue
            changed = False
            for mutation in policy.mutations:
                try:
                    changed = await self._mutate(concern, mutation, view, param, answers) or changed
                except MutationFailed as error:
                    failures.append((concern, str(error)))
            if changed:
                dirty = True
                invocations.changed()
                _CHECKS.labels(policy.name, concern.binding.name, "no_error").inc()
            invocations.asked(key, reinvoked=policy.reinvoked)
        if dirty:
            invocations.changed()
        invocations.end()
        return failures

    async def _mutate(self, concern: Concern, mutation: Mutation, view: View, param: Object | None, answers: Answers) -> bool:
        """Whether a mutation changed the object. Raises MutationFailed."""
        from kubepy.apiserver.verbs.manage import shape_of  # the verbs import the chain

        if view.obj is None:
            return False
        values = await self.values(concern.policy, view, param, answers)
        shape = shape_of(self.services, view.kind)
        evaluate = partial(_evaluate, concern, mutation, values, view.obj, shape)
        patched = await answered(self.services, view.attributes.context.user, answers, evaluate, large=view.large)
        try:
            found = settle(patched, view)
        except ApiError as error:
            raise MutationFailed(error.message) from error
        if found == view.obj:
            return False
        view.keep(found)
        return True


def _evaluate(concern: Concern, mutation: Mutation, values: dict[str, Any], obj: Object, shape: Any) -> Object:
    return mutate(Scope(concern.policy, values), mutation, obj, shape)


def _denied(attributes: Attributes, concern: Concern, text: str) -> ApiError:
    told = f"policy '{concern.policy.name}' with binding '{concern.binding.name}' denied request: {text}"
    details: Object = {**(refuse(attributes, told).details or {}), "causes": [{"message": told}]}
    return ApiError(told, details, code=Forbidden.code, reason="Invalid")
