"""ValidatingAdmissionPolicy (`k8s.io/apiserver/pkg/admission/plugin/policy/validating`)."""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission import match
from kubepy.apiserver.admission.condition import ConditionsFailed, hold
from kubepy.apiserver.admission.expression import POLICY, variables_of
from kubepy.apiserver.admission.interface import Plugin, refuse
from kubepy.apiserver.admission.namespace import namespace_object
from kubepy.apiserver.admission.policy.evaluation import Refusal, Scope, audit_values, validate
from kubepy.apiserver.admission.policy.param import BadParams, params_for
from kubepy.apiserver.admission.policy.source import BINDINGS, POLICIES, Source, selector
from kubepy.apiserver.admission.view import View, equivalents
from kubepy.apiserver.request import Attributes, Operation
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.base.task import Tasks

log = get_logger("policy")
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
_CHECKS = counter("apiserver_validating_admission_policy_check_total", "Validation admission policy check total, labeled by policy and "
                  "further identified by binding and enforcement action taken.", ("policy", "policy_binding", "enforcement_action"))
_FAILED = "validation.policy.admission.k8s.io/validation_failure"
_EXCLUDED = frozenset(("tokenreviews", "selfsubjectreviews", "subjectaccessreviews", "localsubjectaccessreviews",
                       "selfsubjectaccessreviews", "selfsubjectrulesreviews"))
"""Reviews are never judged (upstream's excluded resources)."""


class ValidatingAdmissionPolicy(Plugin):
    name = "ValidatingAdmissionPolicy"
    validates = True

    def start(self, tasks: Tasks) -> None:
        self._source = Source(self.services.store(POLICIES), self.services.store(BINDINGS))
        for position, feed in enumerate(self._source.feeds):
            tasks.keep(feed.run, f"{self.name}/{position}", maximum=5.0)

    async def ready(self) -> None:
        for feed in self._source.feeds:
            await feed.ready.wait()

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return not match.is_exempt(resource) and not (resource.group in ("authentication.k8s.io", "authorization.k8s.io")
                                                      and resource.plural in _EXCLUDED)

    async def admit_valid(self, attributes: Attributes) -> None:
        refusals: list[tuple[str, str, Refusal]] = []
        audited: list[Object] = []
        for policy, bindings in self._source.pairs:
            resource = await self._selected((policy.get("spec") or {}).get("matchConstraints") or {}, attributes)
            if resource is None:
                continue
            view: View | None = None
            for binding in bindings:
                scope = (binding.get("spec") or {}).get("matchResources")
                if scope is not None and await self._selected(scope, attributes, optional=True) is None:
                    continue
                view = view or View(self.services, attributes, resource)
                for refusal in await self._judge(policy, binding, view):
                    self._enforce(policy, binding, refusal, attributes, refusals, audited)
        if audited:
            attributes.context.audit_annotations[_FAILED] = orjson.dumps(audited).decode()
        if refusals:
            raise _denied(attributes, *refusals[0])

    async def _selected(self, scope: Object, attributes: Attributes, *, optional: bool = False) -> Resource | None:
        """As which resource `matchResources` selects the request, None when it does not."""
        namespaces, objects = selector(scope, "namespaceSelector"), selector(scope, "objectSelector")
        exact = scope.get("matchPolicy") == "Exact"

        def others(resource: Resource) -> list[Resource]:
            return equivalents(self.services, resource)

        rules = scope.get("resourceRules") or []
        own = attributes.context.kind.resource
        found = match.Selected(own) if optional and not rules else match.select(rules, exact, attributes, others)
        if found is None or match.select(scope.get("excludeResourceRules") or [], exact, attributes, others) is not None:
            return None
        if not match.object_matches(objects, attributes):
            return None
        if not namespaces.empty:
            namespace = await namespace_object(self.services, attributes)
            if namespace is not None and not namespaces.matches(match.labels_of(namespace)):
                return None
        return found.resource

    async def _judge(self, policy: Object, binding: Object, view: View) -> list[Refusal]:
        spec = policy.get("spec") or {}
        ignore = spec.get("failurePolicy") == "Ignore"
        try:
            params = await params_for(self.services, view.attributes, policy, binding)
        except BadParams as error:
            return [] if ignore else [Refusal(f"failed to configure binding: {error}", "Invalid")]
        values: dict[str, Any] = {**variables_of(view), "namespaceObject": await namespace_object(self.services, view.attributes)}
        found: list[Refusal] = []
        for one in params:
            seen = {**values, "params": one, "variables": {}}
            try:
                conditions = [item.get("expression", "") for item in spec.get("matchConditions") or ()]
                if not hold(conditions, POLICY, seen):
                    continue
            except ConditionsFailed as error:
                if not ignore:
                    found.append(Refusal(str(error), "Invalid"))
                continue
            scope = Scope(seen, spec.get("variables") or [])
            found += validate(scope, spec)
            told, failures = audit_values(scope, policy["metadata"]["name"], spec)
            view.attributes.context.audit_annotations.update(told)
            if not ignore:
                found += [Refusal(text, "Invalid") for text in failures]
        return found

    @staticmethod
    def _enforce(policy: Object, binding: Object, refusal: Refusal, attributes: Attributes, refusals: list[tuple[str, str, Refusal]],
                 audited: list[Object]) -> None:
        title, name = policy["metadata"]["name"], binding["metadata"]["name"]
        actions = (binding.get("spec") or {}).get("validationActions") or ()
        for action in actions:
            _CHECKS.labels(title, name, action.lower()).inc()
            if action == "Deny":
                refusals.append((title, name, refusal))
            elif action == "Warn":
                attributes.context.warn(f"Validation failed for ValidatingAdmissionPolicy '{title}' with binding '{name}': "
                                        f"{refusal.message}")
            elif action == "Audit":
                audited.append({"message": refusal.message, "policy": title, "binding": name, "expressionIndex": 0,
                                "validationActions": list(actions)})


def _denied(attributes: Attributes, policy: str, binding: str, refusal: Refusal) -> ApiError:
    text = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {refusal.message}"
    error = refuse(attributes, text)
    details: Object = {**(error.details or {}), "causes": [{"message": text}]}
    return ApiError(error.message, details, code=_CODES.get(refusal.reason, 422), reason=refusal.reason)
