"""Match conditions: CEL expressions all of which must hold for a webhook or a policy to look at a request.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubepy.apiserver.admission.expression import CONDITION, evaluate, failure, variables_of
from kubepy.apiserver.admission.view import View


class ConditionsFailed(Exception):
    """None is false, and at least one could not be evaluated."""


def all_hold(conditions: Sequence[tuple[str, str]], view: View) -> bool:
    """Of a webhook. False when any is false, whatever else failed; raises ConditionsFailed."""
    return hold([source for _, source in conditions], CONDITION, variables_of(view))


def hold(sources: Sequence[str], names: tuple[str, ...], values: Mapping[str, Any]) -> bool:
    failures = []
    for source in sources:
        try:
            if evaluate(source, names, values) is False:
                return False
        except ValueError as error:
            failures.append(failure(source, error))
    if failures:
        raise ConditionsFailed(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True
