"""Match conditions: CEL expressions all of which must hold for a webhook or a policy to look at a request.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions`.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.apiserver.admission.view import View
from kubepy.apiserver.services import Services


class ConditionsFailed(Exception):
    """None is false, and at least one could not be evaluated."""


async def all_hold(conditions: Sequence[tuple[str, str]], view: View, services: Services) -> bool:
    """False when any is false, whatever else failed; raises ConditionsFailed."""
    raise ConditionsFailed("match conditions cannot be evaluated by this server yet")
