"""ValidatingAdmissionPolicy (`k8s.io/apiserver/pkg/admission/plugin/policy/validating`)."""
from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from kubepy.api.cel.function.authorization import Answers
from kubepy.api.errors import ApiError
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.authorization import answered
from kubepy.apiserver.admission.condition import ConditionsFailed
from kubepy.apiserver.admission.interface import refuse
from kubepy.apiserver.admission.policy.base import GROUP, Concern, PolicyPlugin
from kubepy.apiserver.admission.policy.definition import Policy
from kubepy.apiserver.admission.policy.evaluation import Refusal, Scope, audit_values, validate
from kubepy.apiserver.admission.policy.param import BadParams, params_for
from kubepy.apiserver.admission.view import View
from kubepy.apiserver.request import Attributes
from kubepy.base.metrics import counter

_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
_CHECKS = counter("apiserver_validating_admission_policy_check_total", "Validation admission policy check total, labeled by policy and "
                  "further identified by binding and enforcement action taken.", ("policy", "policy_binding", "enforcement_action"))
_FAILED = "validation.policy.admission.k8s.io/validation_failure"


class ValidatingAdmissionPolicy(PolicyPlugin):
    name = "ValidatingAdmissionPolicy"
    validates = True
    policies = Resource(GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)
    bindings = Resource(GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False)

    async def admit_valid(self, attributes: Attributes) -> None:
        if not self.source.pairs:
            return
        refusals: list[tuple[Concern, Refusal]] = []
        audited: list[Object] = []
        views: dict[Resource, View] = {}
        async for concern in self.concerns(attributes):
            view = views.get(concern.resource)
            if view is None:
                view = views[concern.resource] = View(self.services, attributes, concern.resource)
            for refusal in await self._judge(concern, view):
                self._enforce(concern, refusal, attributes, refusals, audited)
        if audited:
            attributes.context.audit_annotations[_FAILED] = orjson.dumps(audited).decode()
        if refusals:
            raise _denied(attributes, *refusals[0])

    async def _judge(self, concern: Concern, view: View) -> list[Refusal]:
        policy, ignore = concern.policy, concern.policy.ignore
        try:
            params = await params_for(self.services, view.attributes, policy, concern.binding)
        except BadParams as error:
            return [] if ignore else [Refusal(f"failed to configure binding: {error}", always=True)]
        found: list[Refusal] = []
        context = view.attributes.context
        for param in params:
            try:
                answers: Answers = {}
                scope = await self.scope(policy, view, param, answers)
            except ConditionsFailed as error:
                if not ignore:
                    found.append(Refusal(str(error)))
                continue
            if scope is None:
                continue
            refusals, told = await answered(self.services, context.user, answers, partial(_evaluate, policy, scope.values),
                                            large=view.large)
            found += refusals
            for key, value in told.items():
                known = context.audit_annotations.get(key)
                context.audit_annotations[key] = value if known in (None, value) else f"{known}, {value}"
        return found

    @staticmethod
    def _enforce(concern: Concern, refusal: Refusal, attributes: Attributes, refusals: list[tuple[Concern, Refusal]],
                 audited: list[Object]) -> None:
        title, name = concern.policy.name, concern.binding.name
        actions = ["Deny"] if refusal.always else concern.binding.actions
        for action in actions:
            _CHECKS.labels(title, name, action.lower()).inc()
            if action == "Deny":
                refusals.append((concern, refusal))
            elif action == "Warn":
                attributes.context.warn(f"Validation failed for ValidatingAdmissionPolicy '{title}' with binding '{name}': "
                                        f"{refusal.message}")
            elif action == "Audit":
                audited.append({"message": refusal.message, "policy": title, "binding": name, "expressionIndex": refusal.index,
                                "validationActions": list(actions)})


def _evaluate(policy: Policy, values: Mapping[str, Any]) -> tuple[list[Refusal], dict[str, str]]:
    """Refusals and audit annotations; from the beginning whenever a question was answered."""
    scope = Scope(policy, values)
    found = validate(scope, policy)
    told, failures = audit_values(scope, policy)
    return (found if policy.ignore else [*found, *(Refusal(text, always=True) for text in failures)]), told


def _denied(attributes: Attributes, concern: Concern, refusal: Refusal) -> ApiError:
    text = f"ValidatingAdmissionPolicy '{concern.policy.name}' with binding '{concern.binding.name}' denied request: {refusal.message}"
    error = refuse(attributes, text)
    details: Object = {**(error.details or {}), "causes": [{"message": text}]}
    return ApiError(error.message, details, code=_CODES.get(refusal.reason, 422), reason=refusal.reason)
