"""MutatingAdmissionPolicyBinding: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class MutatingAdmissionPolicyBindingStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", False),
    "mutatingadmissionpolicybinding",
    MutatingAdmissionPolicyBindingStrategy(),
    categories=("api-extensions",),
)
