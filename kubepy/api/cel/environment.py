"""Environments, programs and their errors; see the package."""
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

from kubepy.api.cel.library import declarations
from kubepy.api.cel.types import Pool, cel_type
from kubepy.api.structural.pattern import go_words


class CompileError(ValueError):
    """An expression that does not parse or check; the message is cel-go's."""


class EvaluationError(ValueError):
    """An expression that fails; the message is cel-go's where it is known."""


def _extensions() -> list[Any]:
    return [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_bindings.ExtBindings()]


@lru_cache(maxsize=256)
def _evaluator(names: tuple[str, ...]) -> Any:
    """Where expressions are evaluated: nothing has a type, Kubernetes' own types are one message."""
    pool = Pool()
    return cel.NewEnv(pool.pool, variables={name: cel.Type.DYN for name in names}, extensions=_extensions(),
                      functions=declarations(opaque=True))


class Environment:
    """Variables and their types, by signatures (`types.Pool.signature`); `pool` holds the messages they name."""

    def __init__(self, variables: Mapping[str, str], pool: Pool | None = None) -> None:
        self._names = tuple(variables)
        pool = pool or Pool()
        typed = {name: cel_type(text) for name, text in variables.items()}
        self._checker = cel.NewEnv(pool.pool, variables=typed, extensions=_extensions(), functions=declarations(opaque=False))

    def check(self, source: str) -> str:
        """The name of an expression's type, without making it ready to run; raises CompileError."""
        try:
            name: str = self._checker.compile(source).return_type().name()
        except RuntimeError as error:
            raise CompileError(compile_words(str(error))) from error
        return name.upper()

    def compile(self, source: str, *, evaluated: str | None = None) -> Program:
        """Checks an expression; raises CompileError. `evaluated` is what is run in its place."""
        try:
            checked = self._checker.compile(source)
        except RuntimeError as error:
            raise CompileError(compile_words(str(error))) from error
        try:
            runnable = _evaluator(self._names).compile(evaluated or source)
        except RuntimeError as error:
            raise CompileError(compile_words(str(error))) from error
        return Program(source, checked, runnable)


class Program:
    """A compiled expression. `type` is the name of its static type (BOOL, STRING, …)."""

    def __init__(self, source: str, checked: Any, runnable: Any) -> None:
        self.source = source
        self.type: str = checked.return_type().name().upper()
        self._checked = checked
        self._runnable = runnable

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value as Python's; raises EvaluationError."""
        try:
            found = self._runnable.eval(data=dict(variables))
        except RuntimeError as error:
            raise EvaluationError(runtime_words(str(error))) from error
        if found.type() == cel.Type.ERROR:
            raise EvaluationError(runtime_words(str(found.plain_value())))
        return found.plain_value()

    def serialized(self) -> bytes:
        """The checked tree (`cel.expr.CheckedExpr` in an Any)."""
        raw: bytes = self._checked.serialize()
        return raw


_MISSING_STRUCT = re.compile(r"(undefined field '[^']*') not found in struct '[^']*'")
_UNDECLARED = re.compile(r"<input>:(\d+):(\d+): undeclared reference to '([a-zA-Z_]\w*(?:\.\w+)+)'([^\n]*\n \| [^\n]*)\n \| \.*\^")
_MESSAGE_NAME = re.compile(r"schema\.Object\d+")
_MESSAGES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r'Key not found in map : "(.*)"$', re.S), r"no such key: \1"),
    (re.compile(r"Key not found in map : (.*)$", re.S), r"no such key: \1"),
    (re.compile(r"Index error: index=(-?\d+) size=\d+"), r"index out of bounds: \1"),
    (re.compile(r"^divide by zero$"), "division by zero"),
    (re.compile(r"^modulus by zero$"), "modulus by zero"),
    (re.compile(r"^cannot convert (\w+) to (\w+)$"), r"type conversion error from '\1' to '\2'"),
    (re.compile(r"^String to (Duration|Timestamp) conversion failed$"), r"type conversion error from 'string' to 'google.protobuf.\1'"),
    (re.compile(r"^integer overflow$"), "integer overflow"),
    (re.compile(r"^No matching overloads found.*", re.S), "no such overload"),
    (re.compile(r"^Applying SELECT to non-message type$"), "no such overload"),
)
_CODES = re.compile(r"^[A-Z_]+: ")


def compile_words(text: str) -> str:
    """The checker's message without its code, as cel-go has it."""
    text = re.sub(r"\s*\[[A-Z_]+\]$", "", _CODES.sub("", text, count=1))
    return _UNDECLARED.sub(_root, _MESSAGE_NAME.sub("object", _MISSING_STRUCT.sub(r"\1", text)))


def _root(found: re.Match[str]) -> str:
    """An unknown name with selections: cel-go complains of the name alone, where it starts."""
    line, column, name, source = found[1], int(found[2]), found[3], found[4]
    start = column - len(name.rpartition(".")[0])
    return f"<input>:{line}:{start}: undeclared reference to '{name.partition('.')[0]}'{source}\n | {'.' * (start - 1)}^"


def runtime_words(text: str) -> str:
    text = re.sub(r"\s*\[[A-Z_]+\]$", "", _CODES.sub("", text, count=1))
    if text.startswith("invalid regular expression: "):
        why = text.removeprefix("invalid regular expression: ")
        return go_words(why, why.partition(": ")[2])
    for pattern, words in _MESSAGES:
        found, count = pattern.subn(words, text, count=1)
        if count:
            return found
    return text
