"""Compiled expressions: evaluated with variables, under a limit of cost."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kubepy.api.cel.check import Checked
from kubepy.api.cel.closure import Compiler
from kubepy.api.cel.frame import CALL_LIMIT, Frame, OverLimit, Step
from kubepy.api.cel.kind import Kind
from kubepy.api.cel.value import EvaluationError


class Outcome(NamedTuple):
    value: Any
    error: EvaluationError | None
    cost: int


class Program:
    """A compiled expression. `kind` is its static type, `type` that type's name."""

    def __init__(self, source: str, checked: Checked) -> None:
        self.source = source
        self.checked = checked
        self.kind: Kind = checked.kind
        self.type = str(checked.kind)
        self._step: Step | None = None

    def names(self, name: str) -> bool:
        """Whether the expression names a variable."""
        return any(text == name or text.startswith(f"{name}.") for text in self.checked.names.values())

    def run(self, variables: Mapping[str, Any], limit: int = CALL_LIMIT) -> Outcome:
        """The value or the error, and what it cost."""
        if self._step is None:
            self._step = Compiler(self.checked).compile(self.checked.tree.root)
        frame = Frame(dict(variables), limit)
        try:
            return Outcome(self._step(frame), None, frame.cost)
        except EvaluationError as error:
            return Outcome(None, error, frame.cost)
        except OverLimit:
            return Outcome(None, EvaluationError("operation cancelled: actual cost limit exceeded"), frame.cost)
        except RecursionError:
            return Outcome(None, EvaluationError("expression nests too deeply"), frame.cost)

    def evaluate(self, variables: Mapping[str, Any], limit: int = CALL_LIMIT) -> Any:
        """The value; raises EvaluationError."""
        outcome = self.run(variables, limit)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value
