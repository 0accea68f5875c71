"""Both kinds of webhook configurations: they differ in their name and in what a webhook may say."""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.admissionregistration.webhook import default_webhooks, webhooks
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context


class WebhookConfigurationStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True

    def __init__(self, *, mutating: bool) -> None:
        self._mutating = mutating

    def fill(self, obj: Object) -> None:
        default_webhooks(obj, mutating=self._mutating)

    def validate(self, context: Context, obj: Object) -> Errors:
        return webhooks(obj, mutating=self._mutating)


def configuration(*, mutating: bool) -> Kind:
    title = "MutatingWebhookConfiguration" if mutating else "ValidatingWebhookConfiguration"
    return Kind(
        Resource("admissionregistration.k8s.io", "v1", f"{title.lower()}s", title, False),
        title.lower(),
        WebhookConfigurationStrategy(mutating=mutating),
        columns=(
            NAME,
            column("Webhooks", "integer", "Webhooks indicates the number of webhooks registered in this configuration",
                   lambda obj: len(obj.get("webhooks") or ())),
            AGE,
        ),
        categories=("api-extensions",),
    )
