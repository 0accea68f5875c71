"""Expressions as trees: read by Google's CEL parser, macros expanded, each node with its place in the text.

The parser is cel-cpp's (`cel-expr-python`): the grammar, ANTLR's words for syntax errors and the standard macros are those of cel-go.
It does not know the macros of two variables (`ext.TwoVarComprehensions`); they are expanded here. Known difference: expressions nest 32
deep, upstream's 250.
"""
from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kubepy.api.cel.value import UInt

ACCUMULATOR = "@result"
_RESULT = re.compile(r"\s*\[[A-Z_]+\]$")
_CODE = re.compile(r"^[A-Z_]+: ")


class CompileError(ValueError):
    """An expression that does not parse or check; the message is cel-go's."""


@dataclass(slots=True, eq=False)
class Expr:
    """One node: `kind` is const, ident, select, call, list, map, struct or comprehension."""

    kind: str
    id: int = 0
    name: str = ""
    """An identifier, a selected field, a called function, a constructed type, or an iteration variable."""
    value: Any = None
    """Of a constant its value; of a select whether it is only tested (has); of a comprehension its second variable."""
    target: Expr | None = None
    args: list[Expr] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    """Of a map or struct."""
    optional: frozenset[int] = frozenset()
    """Of a list the positions of optional elements."""
    parts: dict[str, Expr] = field(default_factory=dict)
    """Of a comprehension: range, init, condition, step, result."""
    accumulator: str = ""

    def children(self) -> Iterator[Expr]:
        if self.target is not None:
            yield self.target
        yield from self.args
        for entry in self.entries:
            if entry.key is not None:
                yield entry.key
            yield entry.value
        yield from self.parts.values()


@dataclass(slots=True, eq=False)
class Entry:
    """`field` of a struct or `key` of a map."""

    id: int
    field: str
    key: Expr | None
    value: Expr
    optional: bool


@dataclass(frozen=True, slots=True)
class Tree:
    root: Expr
    source: str
    positions: dict[int, int]
    """Where a node stands in the text, by its identity."""

    def error(self, identity: int, message: str) -> str:
        """An error as cel-go shows it: place, words, the line and a mark below it."""
        offset = self.positions.get(identity, 0)
        start = self.source.rfind("\n", 0, offset) + 1
        line = self.source.count("\n", 0, offset) + 1
        end = self.source.find("\n", start)
        text = self.source[start:end if end >= 0 else len(self.source)]
        mark = "".join("．" if ord(char) > 0x2E7F else "." for char in text[:offset - start])
        return f"ERROR: <input>:{line}:{offset - start + 1}: {message}\n | {text.replace(chr(9), ' ')}\n | {mark}^"

    def walk(self) -> Iterator[Expr]:
        waiting = [self.root]
        while waiting:
            expr = waiting.pop()
            yield expr
            waiting.extend(expr.children())


@lru_cache(maxsize=1)
def _parser() -> Any:
    from cel_expr_python import cel  # takes a while to load, and many servers need none
    from cel_expr_python.ext import ext_bindings, ext_optional

    return cel.NewEnv(None, variables={}, extensions=[ext_optional.ExtOptional(), ext_bindings.ExtBindings()])


def parse(source: str) -> Tree:
    """Raises CompileError."""
    try:
        raw: bytes = _parser().compile(source, disable_check=True).serialize()
    except RuntimeError as error:
        raise CompileError(_RESULT.sub("", _CODE.sub("", str(error), count=1))) from error
    parsed = next(value for number, value in _fields(raw) if number == 2)
    info = _one(parsed, 3) or b""
    tree = Tree(_expr(_one(parsed, 2) or b""), source, {})
    for number, value in _fields(info):
        if number == 4:
            tree.positions[_one(value, 1) or 0] = _one(value, 2) or 0
    _Expansion(tree).run()
    return tree


def _expr(raw: bytes) -> Expr:
    identity = 0
    found = Expr("const")
    for number, value in _fields(raw):
        if number == 2:
            identity = value
        elif number == 3:
            found = Expr("const", value=_constant(value))
        elif number == 4:
            found = Expr("ident", name=_text(value, 1).removeprefix("."))
        elif number == 5:
            found = Expr("select", name=_text(value, 2), value=bool(_one(value, 3)), target=_expr(_one(value, 1) or b""))
        elif number == 6:
            target = _one(value, 1)
            found = Expr("call", name=_text(value, 2), target=_expr(target) if target is not None else None,
                         args=[_expr(item) for at, item in _fields(value) if at == 3])
        elif number == 7:
            found = Expr("list", args=[_expr(item) for at, item in _fields(value) if at == 1], optional=_packed(_one(value, 2)))
        elif number == 8:
            name = _text(value, 1)
            found = Expr("struct" if name else "map", name=name, entries=[_entry(item) for at, item in _fields(value) if at == 2])
        elif number == 9:
            parts = {name: _expr(_one(value, at) or b"") for name, at in
                     (("range", 2), ("init", 4), ("condition", 5), ("step", 6), ("result", 7))}
            found = Expr("comprehension", name=_text(value, 1), parts=parts, accumulator=_text(value, 3), value=_text(value, 8))
    found.id = identity
    return found


def _entry(raw: bytes) -> Entry:
    key = _one(raw, 3)
    return Entry(_one(raw, 1) or 0, _text(raw, 2), _expr(key) if key is not None else None, _expr(_one(raw, 4) or b""), bool(_one(raw, 5)))


def _constant(raw: bytes) -> Any:
    for number, value in _fields(raw):
        if number == 2:
            return bool(value)
        if number == 3:
            return value - (1 << 64) if value >> 63 else value
        if number == 4:
            return UInt(value)
        if number == 5:
            return struct.unpack("<d", value)[0]
        if number == 6:
            return value.decode("utf-8", "replace")
        if number == 7:
            return value
    return None


def _packed(raw: bytes | None) -> frozenset[int]:
    found, at = set(), 0
    while raw and at < len(raw):
        value, at = _varint(raw, at)
        found.add(value)
    return frozenset(found)


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


class _Expansion:
    """Macros of two variables, and `sortBy` of lists."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._next = max(tree.positions, default=0) + 1

    def run(self) -> None:
        self._expand(self._tree.root)

    def _expand(self, expr: Expr) -> None:
        for child in expr.children():
            self._expand(child)
        if expr.kind != "call" or expr.target is None:
            return
        build = _MACROS.get((expr.name, len(expr.args)))
        if build is not None:
            build(self, expr)

    def _new(self, at: Expr, kind: str, **rest: Any) -> Expr:
        identity, self._next = self._next, self._next + 1
        self._tree.positions[identity] = self._tree.positions.get(at.id, 0)
        return Expr(kind, identity, **rest)

    def _call(self, at: Expr, name: str, *args: Expr) -> Expr:
        return self._new(at, "call", name=name, args=list(args))

    def _accumulated(self, at: Expr) -> Expr:
        return self._new(at, "ident", name=ACCUMULATOR)

    def _fold(self, expr: Expr, init: Expr, condition: Expr, step: Expr, result: Expr) -> None:
        names = expr.args[:2]
        if any(name.kind != "ident" for name in names):
            wrong = next(name for name in names if name.kind != "ident")
            raise CompileError(self._tree.error(wrong.id, "argument must be a simple name"))
        first, second = names[0].name, names[1].name
        if first == second:
            raise CompileError(self._tree.error(names[1].id, f"duplicate variable name: {second}"))
        if ACCUMULATOR in (first, second):
            raise CompileError(self._tree.error(names[0].id, f"variable '{ACCUMULATOR}' is reserved"))
        assert expr.target is not None
        parts = {"range": expr.target, "init": init, "condition": condition, "step": step, "result": result}
        expr.kind, expr.name, expr.value, expr.accumulator = "comprehension", first, second, ACCUMULATOR
        expr.target, expr.args, expr.parts = None, [], parts

    def all(self, expr: Expr) -> None:
        body = expr.args[2]
        self._fold(expr, self._new(expr, "const", value=True), self._call(expr, "@not_strictly_false", self._accumulated(expr)),
                   self._call(expr, "_&&_", self._accumulated(expr), body), self._accumulated(expr))

    def exists(self, expr: Expr) -> None:
        body = expr.args[2]
        going = self._call(expr, "@not_strictly_false", self._call(expr, "!_", self._accumulated(expr)))
        self._fold(expr, self._new(expr, "const", value=False), going, self._call(expr, "_||_", self._accumulated(expr), body),
                   self._accumulated(expr))

    def exists_one(self, expr: Expr) -> None:
        body = expr.args[2]
        more = self._call(expr, "_+_", self._accumulated(expr), self._new(expr, "const", value=1))
        self._fold(expr, self._new(expr, "const", value=0), self._new(expr, "const", value=True),
                   self._call(expr, "_?_:_", body, more, self._accumulated(expr)),
                   self._call(expr, "_==_", self._accumulated(expr), self._new(expr, "const", value=1)))

    def transform_list(self, expr: Expr) -> None:
        body = expr.args[-1]
        more = self._call(expr, "_+_", self._accumulated(expr), self._new(expr, "list", args=[body]))
        self._transform(expr, self._new(expr, "list"), more)

    def transform_map(self, expr: Expr) -> None:
        key = self._new(expr, "ident", name=expr.args[0].name)
        self._transform(expr, self._new(expr, "map"), self._call(expr, "cel.@mapInsert", self._accumulated(expr), key, expr.args[-1]))

    def transform_entries(self, expr: Expr) -> None:
        self._transform(expr, self._new(expr, "map"), self._call(expr, "cel.@mapInsert", self._accumulated(expr), expr.args[-1]))

    def sort_by(self, expr: Expr) -> None:
        """The list with the keys of its elements beside it."""
        name, key, over = *expr.args, expr.target
        assert over is not None
        if name.kind != "ident":
            raise CompileError(self._tree.error(name.id, "sortBy can only be applied to a list, identifier, comprehension or select "
                                                         "expression"))
        more = self._call(expr, "_+_", self._accumulated(expr), self._new(expr, "list", args=[key]))
        keys = self._new(expr, "comprehension", name=name.name, accumulator=ACCUMULATOR, value="", parts={
            "range": over, "init": self._new(expr, "list"), "condition": self._new(expr, "const", value=True), "step": more,
            "result": self._accumulated(expr)})
        expr.name, expr.target, expr.args = "@sortBy", None, [over, keys]

    def _transform(self, expr: Expr, init: Expr, more: Expr) -> None:
        step = more if len(expr.args) == 3 else self._call(expr, "_?_:_", expr.args[2], more, self._accumulated(expr))
        self._fold(expr, init, self._new(expr, "const", value=True), step, self._accumulated(expr))


_MACROS = {
    ("sortBy", 2): _Expansion.sort_by,
    ("all", 3): _Expansion.all, ("exists", 3): _Expansion.exists, ("existsOne", 3): _Expansion.exists_one,
    ("exists_one", 3): _Expansion.exists_one,
    ("transformList", 3): _Expansion.transform_list, ("transformList", 4): _Expansion.transform_list,
    ("transformMap", 3): _Expansion.transform_map, ("transformMap", 4): _Expansion.transform_map,
    ("transformMapEntry", 3): _Expansion.transform_entries, ("transformMapEntry", 4): _Expansion.transform_entries,
}
