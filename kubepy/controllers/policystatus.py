"""Status of ValidatingAdmissionPolicies (`pkg/controller/validatingadmissionpolicystatus`): which generation has been looked at.

Known difference: expressions are not checked against the types of what they match, so no warnings are given.
"""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment

POLICIES = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)


def controller(env: Environment) -> Controller:
    client = env.client_for("validatingadmissionpolicy-status-controller")
    policies = env.informers.informer(POLICIES).lister

    async def reconcile(key: str) -> float | None:
        policy = policies.get(key)
        if policy is None:
            return None
        status, generation = policy.get("status") or {}, policy["metadata"].get("generation")
        if status.get("observedGeneration") != generation or "typeChecking" not in status:
            await client.update(POLICIES, {**policy, "status": {**status, "observedGeneration": generation, "typeChecking": {}}},
                                subresource="status")
        return None

    return Controller("validatingadmissionpolicy_status", reconcile, (Watch(POLICIES),),
                      workers=env.options.concurrency("validating-admission-policy-status", 5))
