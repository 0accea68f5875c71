"""The type checker (`cel-go/checker/checker.go`): every node gets a type, every call the overloads that may answer it.

Its complaints are cel-go's, in the order of their places in the text. Lists and maps have elements of one type
(HomogeneousAggregateLiterals).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kubepy.api.cel.declaration import Declarations, Function, Overload
from kubepy.api.cel.kind import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Kind,
    Struct,
    is_optional,
    list_of,
    map_of,
    optional_of,
    shown,
    type_of,
)
from kubepy.api.cel.tree import CompileError, Expr, Tree
from kubepy.api.cel.unify import Bindings, assignable, assignable_all, is_dyn, most_general, substitute
from kubepy.api.cel.value import UInt

_CONSTANTS = {bool: BOOL, int: INT, UInt: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL}
_LITERAL_TYPES = {name: type_of(kind) for name, kind in (
    ("bool", BOOL), ("int", INT), ("uint", UINT), ("double", DOUBLE), ("string", STRING), ("bytes", BYTES), ("null_type", NULL),
    ("list", list_of(DYN)), ("map", map_of(DYN, DYN)), ("dyn", DYN), ("type", type_of(DYN)), (TIMESTAMP.name, TIMESTAMP),
    (DURATION.name, DURATION))}


@dataclass(slots=True)
class Checked:
    """A tree with its types. `names` holds the variables that identifiers and qualified selections refer to."""

    tree: Tree
    kinds: dict[int, Kind] = field(default_factory=dict)
    overloads: dict[int, list[Overload]] = field(default_factory=dict)
    functions: dict[int, Function] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return self.kinds[self.tree.root.id]


class Checker:
    """Checks one tree; `variables` are what expressions may name, `structs` finds what they may construct."""

    def __init__(self, tree: Tree, variables: Mapping[str, Kind], declarations: Declarations,
                 structs: Callable[[str], Struct | None]) -> None:
        self._tree = tree
        self._variables = variables
        self._functions = declarations.functions
        self._structs = structs
        self._scopes: list[dict[str, Kind]] = []
        self._bindings: Bindings = {}
        self._fresh = 0
        self._errors: list[tuple[int, str]] = []
        self._found = Checked(tree)

    def check(self) -> Checked:
        """Raises CompileError."""
        self._check(self._tree.root)
        if self._errors:
            raise CompileError("\n".join(text for _, text in sorted(self._errors, key=lambda item: item[0])[:100]))
        for identity, kind in self._found.kinds.items():
            self._found.kinds[identity] = substitute(self._bindings, kind, free_to_dyn=True)
        return self._found

    def _fail(self, identity: int, message: str) -> None:
        text = self._tree.error(identity, message)
        if (self._tree.positions.get(identity, 0), text) not in self._errors:
            self._errors.append((self._tree.positions.get(identity, 0), text))

    def _kind(self, expr: Expr) -> Kind:
        return self._found.kinds[expr.id]

    def _set(self, expr: Expr, kind: Kind) -> None:
        self._found.kinds[expr.id] = kind

    def _assignable(self, target: Kind, value: Kind) -> bool:
        found = assignable(self._bindings, target, value)
        if found is not None:
            self._bindings = found
        return found is not None

    def _variable(self) -> Kind:
        self._fresh += 1
        return Kind(f"_var{self._fresh}", (), "param")

    def _lookup(self, name: str) -> Kind | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        found = self._variables.get(name)
        if found is not None:
            return found
        struct = self._structs(name)
        if struct is not None:
            return type_of(struct)
        return _LITERAL_TYPES.get(name)

    def _check(self, expr: Expr) -> None:
        match expr.kind:
            case "const":
                self._set(expr, _CONSTANTS[type(expr.value)])
            case "ident":
                self._ident(expr)
            case "select":
                self._select(expr)
            case "call":
                self._call(expr)
            case "list":
                self._list(expr)
            case "map":
                self._map(expr)
            case "struct":
                self._struct(expr)
            case _:
                self._comprehension(expr)

    def _ident(self, expr: Expr) -> None:
        found = self._lookup(expr.name)
        if found is None:
            self._undeclared(expr, expr.name)
            return
        self._found.names[expr.id] = expr.name
        self._set(expr, found)

    def _undeclared(self, expr: Expr, name: str) -> None:
        self._set(expr, ERROR)
        self._fail(expr.id, f"undeclared reference to '{name}' (in container '')")

    def _select(self, expr: Expr) -> None:
        qualified = qualified_name(expr)
        if qualified and not self._scoped(qualified.partition(".")[0]):
            found = self._lookup(qualified)
            if found is not None:
                self._found.names[expr.id] = qualified
                self._set(expr, found)
                return
        assert expr.target is not None
        self._check(expr.target)
        result = self._field(expr, self._kind(expr.target), expr.name, optional=False)
        self._set(expr, BOOL if expr.value else substitute(self._bindings, result))

    def _scoped(self, name: str) -> bool:
        return any(name in scope for scope in self._scopes)

    def _field(self, expr: Expr, operand: Kind, name: str, *, optional: bool) -> Kind:
        target = substitute(self._bindings, operand)
        through = is_optional(target)
        if through:
            target = target.params[0]
        result = ERROR
        if target.form == "map":
            result = target.params[1]
        elif isinstance(target, Struct):
            found = target.field(name)
            if found is None:
                self._fail(expr.id, f"undefined field '{name}'")
            else:
                result = found.kind
        elif target.form == "param":
            self._assignable(DYN, target)
            result = DYN
        else:
            if not is_dyn(target):
                self._fail(expr.id, f"type '{shown(target)}' does not support field selection")
            result = DYN
        return optional_of(result) if through or optional else result

    def _call(self, expr: Expr) -> None:
        if expr.name == "_?._":
            self._optional_select(expr)
            return
        for arg in expr.args:
            self._check(arg)
        if expr.target is None:
            function = self._functions.get(expr.name)
            if function is None:
                self._undeclared(expr, expr.name)
                return
            self._resolve(expr, function, expr.args, member=False)
            return
        prefix = qualified_name(expr.target)
        if prefix and f"{prefix}.{expr.name}" in self._functions:
            function = self._functions[f"{prefix}.{expr.name}"]
            expr.name, expr.target = function.name, None
            self._resolve(expr, function, expr.args, member=False)
            return
        self._check(expr.target)
        function = self._functions.get(expr.name)
        if function is None:
            self._undeclared(expr, expr.name)
            return
        self._resolve(expr, function, [expr.target, *expr.args], member=True)

    def _optional_select(self, expr: Expr) -> None:
        operand, name = expr.args
        self._check(operand)
        if name.kind != "const" or not isinstance(name.value, str):
            self._fail(name.id, "unsupported optional field selection: field name must be a text")
            self._set(expr, ERROR)
            return
        self._set(name, STRING)
        self._set(expr, substitute(self._bindings, self._field(expr, self._kind(operand), name.value, optional=True)))

    def _resolve(self, expr: Expr, function: Function, operands: list[Expr], *, member: bool) -> None:
        given = [self._kind(operand) for operand in operands]
        result: Kind | None = None
        fitting: list[Overload] = []
        for overload in function.overloads:
            if overload.member != member or len(overload.params) != len(given):
                continue
            params, answer = list(overload.params), overload.result
            if overload.type_params:
                fresh: Bindings = {name: self._variable() for name in overload.type_params}
                params = [substitute(fresh, param) for param in params]
                answer = substitute(fresh, answer)
            bindings = assignable_all(self._bindings, given, params)
            if bindings is None:
                continue
            self._bindings = bindings
            fitting.append(overload)
            answer = substitute(self._bindings, answer)
            if result is None:
                result = answer
            elif not is_dyn(result) and answer != result:
                result = DYN
        if result is None:
            texts = [shown(substitute(self._bindings, kind, free_to_dyn=True)) for kind in given]
            signature = f"{texts[0]}.({', '.join(texts[1:])})" if member else f"({', '.join(texts)})"
            self._fail(expr.id, f"found no matching overload for '{function.name}' applied to '{signature}'")
            self._set(expr, ERROR)
            return
        self._found.overloads[expr.id] = fitting
        self._found.functions[expr.id] = function
        self._set(expr, result)

    def _joined(self, expr: Expr, before: Kind | None, kind: Kind) -> Kind:
        if before is None:
            return kind
        if self._assignable(before, kind):
            return most_general(before, kind)
        self._fail(expr.id, f"expected type '{shown(before)}' but found '{shown(kind)}'")
        return ERROR

    def _unwrapped(self, expr: Expr) -> Kind:
        kind = substitute(self._bindings, self._kind(expr))
        if is_optional(kind):
            return kind.params[0]
        if not is_dyn(kind):
            self._fail(expr.id, f"expected type '{shown(optional_of(kind))}' but found '{shown(kind)}'")
        return kind

    def _list(self, expr: Expr) -> None:
        item: Kind | None = None
        for position, arg in enumerate(expr.args):
            self._check(arg)
            item = self._joined(arg, item, self._unwrapped(arg) if position in expr.optional else self._kind(arg))
        self._set(expr, list_of(item or self._variable()))

    def _map(self, expr: Expr) -> None:
        key: Kind | None = None
        value: Kind | None = None
        for entry in expr.entries:
            assert entry.key is not None
            self._check(entry.key)
            key = self._joined(entry.key, key, self._kind(entry.key))
            self._check(entry.value)
            value = self._joined(entry.value, value, self._unwrapped(entry.value) if entry.optional else self._kind(entry.value))
        self._set(expr, map_of(key or self._variable(), value or self._variable()))

    def _struct(self, expr: Expr) -> None:
        found = self._structs(expr.name)
        if found is None:
            known = self._lookup(expr.name)
            self._fail(expr.id, f"undeclared reference to '{expr.name}' (in container '')" if known is None
                       else f"'{shown(known.params[0])}' is not a message type" if known.form == "type" else f"'{expr.name}' is not a type")
            self._set(expr, ERROR)
            return
        for entry in expr.entries:
            self._check(entry.value)
            kind = self._unwrapped(entry.value) if entry.optional else self._kind(entry.value)
            declared = found.field(entry.field)
            if declared is None:
                self._fail(entry.id, f"undefined field '{entry.field}'")
            elif not self._assignable(declared.kind, kind):
                self._mismatch(entry.id, entry.field, declared.kind, kind)
        self._set(expr, found)

    def _mismatch(self, identity: int, name: str, wanted: Kind, kind: Kind) -> None:
        self._fail(identity, f"expected type of field '{name}' is '{shown(wanted)}' but provided type is '{shown(kind)}'")

    def _comprehension(self, expr: Expr) -> None:
        parts = expr.parts
        self._check(parts["range"])
        self._check(parts["init"])
        over = substitute(self._bindings, self._kind(parts["range"]))
        first, second = self._ranged(expr, over)
        self._scopes.append({expr.accumulator: self._kind(parts["init"])})
        self._scopes.append({expr.name: first, **({expr.value: second} if expr.value and second is not None else {})})
        self._check(parts["condition"])
        self._expect(parts["condition"], BOOL)
        self._check(parts["step"])
        self._expect(parts["step"], self._kind(parts["init"]))
        self._scopes.pop()
        self._check(parts["result"])
        self._scopes.pop()
        self._set(expr, substitute(self._bindings, self._kind(parts["result"])))

    def _expect(self, expr: Expr, kind: Kind) -> None:
        if not self._assignable(kind, self._kind(expr)):
            self._fail(expr.id, f"expected type '{shown(kind)}' but found '{shown(substitute(self._bindings, self._kind(expr)))}'")

    def _ranged(self, expr: Expr, over: Kind) -> tuple[Kind, Kind | None]:
        """The types of a comprehension's variables."""
        if over.form == "list":
            return (INT, over.params[0]) if expr.value else (over.params[0], None)
        if over.form == "map":
            return (over.params[0], over.params[1]) if expr.value else (over.params[0], None)
        if is_dyn(over) or over.form == "param":
            self._assignable(DYN, over)
            return DYN, DYN if expr.value else None
        self._fail(expr.parts["range"].id,
                   f"expression of type '{shown(over)}' cannot be range of a comprehension (must be list, map, or dynamic)")
        return ERROR, ERROR if expr.value else None


def qualified_name(expr: Expr) -> str:
    """`a.b.c` of an identifier with selections, "" of other expressions."""
    if expr.kind == "ident":
        return expr.name
    if expr.kind == "select" and not expr.value and expr.target is not None:
        prefix = qualified_name(expr.target)
        return f"{prefix}.{expr.name}" if prefix else ""
    return ""
