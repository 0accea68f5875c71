"""MutatingWebhookConfiguration: webhooks that are asked about requests."""
from __future__ import annotations

from kubepy.apiserver.registry.admissionregistration.configuration import configuration

KIND = configuration(mutating=True)
