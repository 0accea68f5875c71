"""ValidatingAdmissionPolicyBinding: where a policy applies, and with which parameters (`pkg/registry/admissionregistration`)."""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.admissionregistration.binding import COLUMNS, binding, default_binding
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context


class ValidatingAdmissionPolicyBindingStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        default_binding(obj)

    def validate(self, context: Context, obj: Object) -> Errors:
        return binding(obj, actions=True)


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False),
    "validatingadmissionpolicybinding",
    ValidatingAdmissionPolicyBindingStrategy(),
    columns=COLUMNS,
    categories=("api-extensions",),
)
