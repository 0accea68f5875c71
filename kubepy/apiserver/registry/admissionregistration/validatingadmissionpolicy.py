"""ValidatingAdmissionPolicy: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class ValidatingAdmissionPolicyStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True
    has_status = True


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False),
    "validatingadmissionpolicy",
    ValidatingAdmissionPolicyStrategy(),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
