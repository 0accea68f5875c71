"""Checked expressions as trees, read from their serialized form (`cel.expr.CheckedExpr`)."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Expr:
    """One node: `kind` is const, ident, select, call, list, struct or comprehension."""

    kind: str
    id: int = 0
    name: str = ""
    """An identifier, a selected field, a called function, or an iteration variable."""
    value: Any = None
    """Of a text constant the text; of a select whether it is only tested (has)."""
    target: Expr | None = None
    args: list[Expr] = field(default_factory=list)
    parts: dict[str, Expr] = field(default_factory=dict)
    """Of a comprehension: range, init, condition, step, result."""
    accumulator: str = ""


def read(raw: bytes) -> Expr:
    """The tree of a serialized program."""
    checked = next(value for number, value in _fields(raw) if number == 2)
    return _expr(next(value for number, value in _fields(checked) if number == 4))


def _expr(raw: bytes) -> Expr:
    identity = 0
    found = Expr("const")
    for number, value in _fields(raw):
        if number == 2:
            identity = value
        elif number == 3:
            texts = [item for at, item in _fields(value) if at in (6, 7)]
            found = Expr("const", value=texts[0] if texts else None)
        elif number == 4:
            found = Expr("ident", name=_text(value, 1))
        elif number == 5:
            found = Expr("select", name=_text(value, 2), value=bool(_one(value, 3)), target=_expr(_one(value, 1) or b""))
        elif number == 6:
            target = _one(value, 1)
            found = Expr("call", name=_text(value, 2), target=_expr(target) if target is not None else None,
                         args=[_expr(item) for at, item in _fields(value) if at == 3])
        elif number == 7:
            found = Expr("list", args=[_expr(item) for at, item in _fields(value) if at == 1])
        elif number == 8:
            entries = [item for at, item in _fields(value) if at == 2]
            found = Expr("struct", args=[_expr(item) for entry in entries for at, item in _fields(entry) if at in (3, 4)])
        elif number == 9:
            parts = {name: _expr(_one(value, at) or b"") for name, at in
                     (("range", 2), ("init", 4), ("condition", 5), ("step", 6), ("result", 7))}
            found = Expr("comprehension", name=_text(value, 1), parts=parts, accumulator=_text(value, 3))
    found.id = identity
    return found


def _one(raw: bytes, number: int) -> Any:
    return next((value for at, value in _fields(raw) if at == number), None)


def _text(raw: bytes, number: int) -> str:
    return (_one(raw, number) or b"").decode("utf-8", "replace")


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(raw, at)
            yield tag >> 3, value
        elif kind == 2:
            length, at = _varint(raw, at)
            yield tag >> 3, raw[at:at + length]
            at += length
        else:
            size = 8 if kind == 1 else 4
            yield tag >> 3, raw[at:at + size]
            at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    shift = value = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
