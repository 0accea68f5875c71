"""Environments: what expressions may name, and the words of what they get wrong; see the package."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from kubepy.api.cel import library
from kubepy.api.cel.check import Checked, Checker
from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.kind import Kind, Struct, kind
from kubepy.api.cel.program import Program
from kubepy.api.cel.tree import CompileError, parse
from kubepy.api.cel.value import EvaluationError, parse_duration, parse_timestamp
from kubepy.api.structural.pattern import BadPattern, compile_pattern

MAX_SIZE = 100_000
"""Code points of an expression (cel-go's parser limit)."""


class Environment:
    """Variables with their types (a Kind, or its text: `map(string,dyn)`), functions, and the objects that can be constructed."""

    def __init__(self, variables: Mapping[str, Kind | str], declarations: Declarations | None = None,
                 structs: Callable[[str], Struct | None] | None = None) -> None:
        self.variables = {name: kind(item) if isinstance(item, str) else item for name, item in variables.items()}
        self._declarations = declarations or library.base()
        self._structs = structs or (lambda name: None)

    def compile(self, source: str) -> Program:
        """Parses and checks an expression; raises CompileError."""
        if len(source) > MAX_SIZE:
            raise CompileError(f"ERROR: <input>:-1:0: expression code point size exceeds limit: size: {len(source)}, limit {MAX_SIZE}")
        try:
            checked = Checker(parse(source), self.variables, self._declarations, self._structs).check()
        except RecursionError as error:
            raise CompileError("ERROR: <input>:-1:0: expression recursion limit exceeded: 250") from error
        _literals(checked)
        return Program(source, checked)


def _literals(checked: Checked) -> None:
    """Constants that no duration, time or regular expression can be made of."""
    errors = []
    for expr in checked.tree.walk():
        if expr.kind != "call":
            continue
        arg = expr.args[-1] if expr.args else None
        if arg is None or arg.kind != "const" or not isinstance(arg.value, str):
            continue
        try:
            if expr.name == "matches":
                compile_pattern(arg.value)
            elif expr.name == "duration":
                parse_duration(arg.value)
            elif expr.name == "timestamp":
                parse_timestamp(arg.value)
        except (BadPattern, ValueError, EvaluationError):
            errors.append(checked.tree.error(arg.id, f"invalid {expr.name} argument"))
    if errors:
        raise CompileError("\n".join(errors))


__all__ = ["CompileError", "Environment", "EvaluationError", "Program"]
