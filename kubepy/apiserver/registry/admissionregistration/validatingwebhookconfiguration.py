"""ValidatingWebhookConfiguration: webhooks that are asked about requests."""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.admissionregistration.webhook import default_webhooks, webhooks
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context


class ValidatingWebhookConfigurationStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        default_webhooks(obj, mutating=False)

    def validate(self, context: Context, obj: Object) -> Errors:
        return webhooks(obj, mutating=False)


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False),
    "validatingwebhookconfiguration",
    ValidatingWebhookConfigurationStrategy(),
    columns=(
        NAME,
        column("Webhooks", "integer", "Webhooks indicates the number of webhooks registered in this configuration",
               lambda obj: len(obj.get("webhooks") or ())),
        AGE,
    ),
    categories=("api-extensions",),
)
