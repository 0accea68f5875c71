"""What one policy says of one request. Pure.

Variables are evaluated when an expression names them; one that fails breaks only the expressions that reach it.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kubepy.api.types import Object
from kubepy.apiserver.admission.expression import POLICY, evaluate, failure

_VARIABLE = re.compile(r"\bvariables\.([A-Za-z_]\w*)")
_MISSING = re.compile(r"^no such key: (\w+)$")
MAX_MESSAGE = 5 << 10


class Scope:
    """The values expressions see, and the policy's variables as far as they were needed."""

    def __init__(self, values: dict[str, Any], variables: list[Object]) -> None:
        self._values = {**values, "variables": {}}
        self._sources = {item["name"]: item.get("expression", "") for item in variables}
        self._failed: dict[str, str] = {}

    def evaluate(self, source: str) -> Any:
        """Raises ValueError."""
        self._prepare(source, frozenset())
        try:
            return evaluate(source, POLICY, self._values)
        except ValueError as error:
            missing = _MISSING.match(str(error))
            if missing and missing[1] in self._failed:
                raise ValueError(f'composited variable "{missing[1]}" fails to evaluate: {self._failed[missing[1]]}') from error
            raise

    def _prepare(self, source: str, above: frozenset[str]) -> None:
        known = self._values["variables"]
        for name in _VARIABLE.findall(source):
            if name in known or name in self._failed or name not in self._sources or name in above:
                continue
            text = self._sources[name]
            self._prepare(text, above | {name})
            try:
                known[name] = evaluate(text, POLICY, self._values)
            except ValueError as error:
                self._failed[name] = str(error)


@dataclass(frozen=True, slots=True)
class Refusal:
    message: str
    reason: str


def validate(scope: Scope, spec: Object) -> list[Refusal]:
    """The validations that do not hold, in order."""
    ignore = spec.get("failurePolicy") == "Ignore"
    found = []
    for validation in spec.get("validations") or ():
        source, reason = validation.get("expression", "").strip(), validation.get("reason") or "Invalid"
        try:
            if scope.evaluate(validation.get("expression", "")) is True:
                continue
        except ValueError as error:
            if not ignore:
                found.append(Refusal(failure(source, error), "Invalid"))
            continue
        found.append(Refusal(_message(scope, validation, source), reason))
    return found


def _message(scope: Scope, validation: Object, source: str) -> str:
    if expression := validation.get("messageExpression"):
        try:
            text = scope.evaluate(expression)
        except ValueError:
            text = ""
        if isinstance(text, str) and text.strip() and "\n" not in text.strip() and len(text) <= MAX_MESSAGE:
            return text.strip()
    return str(validation.get("message", "")).strip() or f"failed expression: {source}"


def audit_values(scope: Scope, policy: str, spec: Object) -> tuple[dict[str, str], list[str]]:
    """The policy's audit annotations, and what failed of them."""
    found: dict[str, str] = {}
    failures = []
    for item in spec.get("auditAnnotations") or ():
        try:
            value = scope.evaluate(item.get("valueExpression", ""))
        except ValueError as error:
            failures.append(failure(item.get("valueExpression", ""), error))
            continue
        if isinstance(value, str) and value.strip():
            found[f"{policy}/{item.get('key', '')}"] = value.strip()[:10 << 10]
    return found, failures
