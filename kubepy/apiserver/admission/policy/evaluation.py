"""What one policy says of one request. Pure.

Variables are evaluated when an expression names them; one that fails breaks only the expressions that reach it.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubepy.api.cel import EvaluationError
from kubepy.api.cel.admission import Variables
from kubepy.api.cel.frame import BUDGET
from kubepy.apiserver.admission.expression import OUT_OF_BUDGET, Expression, OutOfBudget, failure
from kubepy.apiserver.admission.policy.definition import Policy, Validation

MAX_MESSAGE = 5 << 10
MAX_ANNOTATION = 10 << 10


class Scope:
    """The values the expressions of a policy see, and what they may still cost."""

    def __init__(self, policy: Policy, values: Mapping[str, Any]) -> None:
        self._policy = policy
        self._budget = [BUDGET]
        self._failed: dict[str, str] = {}
        self._values = {**values, "variables": Variables(self._variable)}

    @property
    def values(self) -> Mapping[str, Any]:
        return self._values

    def evaluate(self, expression: Expression) -> Any:
        """Raises ValueError, OutOfBudget."""
        return expression.evaluate(self._values, self._budget)

    def _variable(self, name: str) -> Any:
        if name not in self._failed:
            try:
                return self._policy.variables[name].evaluate(self._values, self._budget)
            except KeyError:
                raise EvaluationError(f"no such key: {name}") from None
            except ValueError as error:
                self._failed[name] = str(error)
        raise EvaluationError(f'composited variable "{name}" fails to evaluate: {self._failed[name]}')


@dataclass(frozen=True, slots=True)
class Refusal:
    message: str
    reason: str = "Invalid"
    index: int = 0
    """Of the validation."""
    always: bool = False
    """Whatever the binding says is to be done: a policy that cannot be judged by refuses."""


def validate(scope: Scope, policy: Policy) -> list[Refusal]:
    """The validations that do not hold, in order."""
    found: list[tuple[int, Validation, str]] = []
    for index, validation in enumerate(policy.validations):
        try:
            if scope.evaluate(validation.expression) is True:
                continue
        except OutOfBudget:
            return [] if policy.ignore else [Refusal(OUT_OF_BUDGET)]
        except ValueError as error:
            if not policy.ignore:
                found.append((index, validation, failure(validation.expression.source, error)))
            continue
        found.append((index, validation, ""))
    return [Refusal(text, index=index) if text else Refusal(_message(scope, validation), validation.reason, index)
            for index, validation, text in found]


def _message(scope: Scope, validation: Validation) -> str:
    if validation.message is not None:
        try:
            text = scope.evaluate(validation.message)
        except ValueError:
            text = ""
        if isinstance(text, str) and text.strip() and "\n" not in text.strip() and len(text) <= MAX_MESSAGE:
            return text.strip()
    return validation.text or f"failed expression: {validation.expression.source.strip()}"


def audit_values(scope: Scope, policy: Policy) -> tuple[dict[str, str], list[str]]:
    """The policy's audit annotations, and what failed of them."""
    found: dict[str, str] = {}
    failures = []
    for key, expression in policy.audits:
        try:
            value = scope.evaluate(expression)
        except ValueError as error:
            failures.append(failure(expression.source, error))
            continue
        if isinstance(value, str) and value.strip():
            found[f"{policy.name}/{key}"] = value.strip()[:MAX_ANNOTATION]
    return found, failures
