"""Match conditions: CEL expressions all of which must hold for a webhook or a policy to look at a request.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubepy.apiserver.admission.expression import Expression, OutOfBudget, failure

BUDGET = 2_500_000
"""Of all conditions together (RuntimeCELCostBudgetMatchConditions)."""


class ConditionsFailed(Exception):
    """None is false, and at least one could not be evaluated."""


def hold(conditions: Sequence[Expression], values: Mapping[str, Any]) -> bool:
    """False when any is false, whatever else failed; raises ConditionsFailed."""
    failures = []
    budget = [BUDGET]
    for condition in conditions:
        try:
            if condition.evaluate(values, budget) is False:
                return False
        except OutOfBudget as error:
            raise ConditionsFailed(str(error)) from error
        except ValueError as error:
            failures.append(failure(condition.source, error))
    if failures:
        raise ConditionsFailed(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True
