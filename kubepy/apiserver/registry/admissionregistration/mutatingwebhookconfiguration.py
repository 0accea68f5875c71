"""MutatingWebhookConfiguration: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class MutatingWebhookConfigurationStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False),
    "mutatingwebhookconfiguration",
    MutatingWebhookConfigurationStrategy(),
    categories=("api-extensions",),
)
