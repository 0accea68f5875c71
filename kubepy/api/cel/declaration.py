"""Functions and their overloads, declared by signatures: `string.contains(string) bool`, `optional.of(T) optional(T)`.

A function either has one implementation for all its overloads (`single`, with the names of types its first operand may have) or one
for each overload, chosen by the values' types.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kubepy.api.cel.kind import Kind, kind, split
from kubepy.api.cel.value import name_of

_ANY = frozenset(("dyn", "param", "any"))


@dataclass(frozen=True, slots=True)
class Overload:
    id: str
    member: bool
    params: tuple[Kind, ...]
    result: Kind
    call: Callable[..., Any] | None = None
    matchers: tuple[str, ...] = ()
    """The type name each value must have, "" for any."""
    type_params: frozenset[str] = frozenset()

    def fits(self, values: tuple[Any, ...]) -> bool:
        return len(values) == len(self.matchers) and all(not wanted or name_of(value) == wanted
                                                         for wanted, value in zip(self.matchers, values, strict=True))


@dataclass(slots=True)
class Function:
    name: str
    overloads: list[Overload] = field(default_factory=list)
    single: Callable[..., Any] | None = None
    operands: frozenset[str] | None = None
    """Of a single implementation: names of the types the first operand may have; None for all."""


def _params_in(item: Kind) -> Iterable[str]:
    if item.form == "param":
        yield item.name
    for param in item.params:
        yield from _params_in(param)


def _parse(text: str) -> tuple[str, list[str], str]:
    """Name, parameters and result of a signature."""
    start = depth = text.index("(")
    for end in range(start, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == start:
            return text[:start], split(text[start + 1:end]), text[end + 1:].strip()
    raise ValueError(text)


class Declarations:
    """A set of functions."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}

    def add(self, signature: str, call: Callable[..., Any] | None = None, *, id: str = "") -> None:
        """A free function or, where the name starts with a type and two colons, a member: `string::contains(string) bool`."""
        target, mark, rest = signature.partition("::")
        name, params, result = _parse(rest if mark else signature)
        kinds = tuple(kind(item) for item in ([target, *params] if mark else params))
        matchers = tuple("" if item.form in _ANY else item.name for item in kinds)
        free = frozenset(name for item in (*kinds, kind(result)) for name in _params_in(item))
        title = id or "_".join([name, *(re.sub(r"\W+", "_", str(item)).strip("_") for item in kinds)])
        overload = Overload(title, bool(mark), kinds, kind(result), call, matchers, free)
        self.functions.setdefault(name, Function(name)).overloads.append(overload)

    def single(self, name: str, call: Callable[..., Any], operands: Iterable[str] | None, signatures: Iterable[tuple[str, str]]) -> None:
        """Overloads (identity and signature) that share an implementation."""
        for identity, signature in signatures:
            target, mark, rest = signature.partition("::")
            self.add(f"{target}::{name}{rest}" if mark else f"{name}{signature}", None, id=identity)
        function = self.functions[name]
        function.single, function.operands = call, frozenset(operands) if operands is not None else None

    def extended(self, others: Declarations) -> Declarations:
        found = Declarations()
        for source in (self, others):
            for name, function in source.functions.items():
                known = found.functions.setdefault(name, Function(name))
                known.overloads = [*known.overloads, *function.overloads]
                if function.single is not None:
                    known.single, known.operands = function.single, function.operands
        return found
