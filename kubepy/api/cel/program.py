"""Checked expressions as Python closures, which count what they cost (`cel-go/interpreter`, `runtimecost.go`).

A closure takes the frame of one evaluation and gives a value or raises EvaluationError. Costs are cel-go's: 1 for a variable or a
selection, 10 for a list, 30 for a map, 40 for an object, what `meter.py` says for a call.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kubepy.api.cel.check import Checked
from kubepy.api.cel.kind import Kind, Struct, is_optional
from kubepy.api.cel.meter import call_cost
from kubepy.api.cel.tree import Expr
from kubepy.api.cel.value import NONE, EvaluationError, ObjectValue, Optional, equal, go_name, is_number, name_of, no_overload, show

CALL_LIMIT = 1_000_000
"""Of one evaluation (PerCallLimit)."""
BUDGET = 10_000_000
"""Of all evaluations for one object or policy (RuntimeCELCostBudget)."""
_ABSENT = object()


class Halt(Exception):
    """Ends an evaluation whatever the expression makes of errors."""


class Frame:
    """One evaluation."""

    __slots__ = ("cost", "limit", "values")

    def __init__(self, values: dict[str, Any], limit: int) -> None:
        self.values = values
        self.cost = 0
        self.limit = limit


class Outcome(NamedTuple):
    value: Any
    error: EvaluationError | None
    cost: int


Step = Callable[[Frame], Any]


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
            self._step = _Compiler(self.checked).compile(self.checked.tree.root)
        frame = Frame(dict(variables), limit)
        try:
            return Outcome(self._step(frame), None, frame.cost)
        except EvaluationError as error:
            return Outcome(None, error, frame.cost)
        except _OverLimit:
            return Outcome(None, EvaluationError("operation cancelled: actual cost limit exceeded"), frame.cost)
        except RecursionError:
            return Outcome(None, EvaluationError("expression nests too deeply"), frame.cost)

    def evaluate(self, variables: Mapping[str, Any], limit: int = CALL_LIMIT) -> Any:
        """The value; raises EvaluationError."""
        outcome = self.run(variables, limit)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


class _OverLimit(Halt):
    pass


class _Compiler:
    def __init__(self, checked: Checked) -> None:
        self._checked = checked

    def compile(self, expr: Expr) -> Step:
        match expr.kind:
            case "const":
                value = expr.value
                return lambda frame: value
            case "ident":
                return _ident(expr.name)
            case "select":
                return self._select(expr)
            case "call":
                return self._call(expr)
            case "list":
                return self._list(expr)
            case "map" | "struct":
                return self._entries(expr)
        return self._comprehension(expr)

    def _key(self, operand: Expr, name: str) -> str:
        """The name that a selected field has in the data."""
        kind = self._checked.kinds[operand.id]
        kind = kind.params[0] if is_optional(kind) else kind
        found = kind.field(name) if isinstance(kind, Struct) else None
        return found.key if found is not None else name

    def _select(self, expr: Expr) -> Step:
        assert expr.target is not None
        qualified = self._checked.names.get(expr.id)
        if qualified is not None:
            return _ident(qualified)
        target, name, key = self.compile(expr.target), expr.name, self._key(expr.target, expr.name)
        if expr.value:
            return lambda frame: _has(target(frame), key)

        def select(frame: Frame) -> Any:
            value = target(frame)
            frame.cost += 1
            if isinstance(value, dict):
                try:
                    return value[key]
                except KeyError:
                    raise EvaluationError(f"no such key: {name}") from None
            if isinstance(value, Optional):
                return _find(value, key)
            raise EvaluationError(f"no such key: {name}")

        return select

    def _list(self, expr: Expr) -> Step:
        steps = [self.compile(arg) for arg in expr.args]
        optional = expr.optional

        def build(frame: Frame) -> Any:
            values = [step(frame) for step in steps]
            frame.cost += 10
            if optional:
                return [_opened(value) if at in optional else value for at, value in enumerate(values)
                        if at not in optional or _optional(value).has]
            return values

        return build

    def _entries(self, expr: Expr) -> Step:
        named = expr.kind == "struct"
        entries = [(self.compile(entry.key) if entry.key is not None else None, entry.field, self.compile(entry.value), entry.optional)
                   for entry in expr.entries]
        name, cost = expr.name, 40 if named else 30

        def build(frame: Frame) -> Any:
            found: dict[Any, Any] = {}
            for key_step, key, step, optional in entries:
                if key_step is not None:
                    key = key_step(frame)
                    if type(key).__hash__ is None or isinstance(key, (list, dict)):
                        raise EvaluationError(f"unsupported key type: {name_of(key)}")
                    if key in found:
                        raise EvaluationError(f"insert failed: key {show(key)} already exists")
                value = step(frame)
                if optional:
                    if not _optional(value).has:
                        continue
                    value = value.value
                found[key] = value
            frame.cost += cost
            return ObjectValue(name, found) if named else found

        return build

    def _call(self, expr: Expr) -> Step:
        name = expr.name
        operands = [*([expr.target] if expr.target is not None else []), *expr.args]
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, operands)
        steps = [self.compile(operand) for operand in operands]
        overloads, function = self._checked.overloads[expr.id], self._checked.functions[expr.id]
        cost = call_cost(name, overloads[0].id)
        single, allowed = function.single, function.operands
        if single is not None and len(steps) == 2:
            return _binary(name, steps[0], steps[1], single, allowed, cost)

        def call(frame: Frame) -> Any:
            values = tuple([step(frame) for step in steps])
            if single is not None:
                if allowed is not None and name_of(values[0]) not in allowed:
                    raise no_overload(name)
                result = single(*values)
            else:
                for overload in overloads:
                    if overload.fits(values):
                        assert overload.call is not None
                        result = overload.call(*values)
                        break
                else:
                    raise no_overload(f"{name}({', '.join(map(name_of, values))})")
            frame.cost += cost(values, result) if cost is not None else 1
            if frame.cost > frame.limit:
                raise _OverLimit
            return result

        return call

    def _and(self, operands: list[Expr]) -> Step:
        return self._logical(operands, stop=False)

    def _or(self, operands: list[Expr]) -> Step:
        return self._logical(operands, stop=True)

    def _logical(self, operands: list[Expr], *, stop: bool) -> Step:
        left, right = (self.compile(operand) for operand in operands)

        def decide(frame: Frame) -> Any:
            failed: EvaluationError | None = None
            try:
                value = left(frame)
                if value is stop:
                    return stop
                if value is not (not stop):
                    failed = no_overload()
            except EvaluationError as error:
                failed = error
            value = right(frame) if failed is None else _tried(right, frame)
            if value is stop:
                return stop
            if failed is not None:
                raise failed
            if value is not (not stop):
                raise no_overload()
            return not stop

        return decide

    def _conditional(self, operands: list[Expr]) -> Step:
        test, yes, no = (self.compile(operand) for operand in operands)

        def choose(frame: Frame) -> Any:
            value = test(frame)
            if value is True:
                return yes(frame)
            if value is False:
                return no(frame)
            raise no_overload()

        return choose

    def _not_strictly_false(self, operands: list[Expr]) -> Step:
        operand = self.compile(operands[0])

        def hold(frame: Frame) -> bool:
            try:
                value = operand(frame)
            except EvaluationError:
                value = True
            frame.cost += 1
            if frame.cost > frame.limit:
                raise _OverLimit
            return value is not False

        return hold

    def _index(self, operands: list[Expr]) -> Step:
        target, key = (self.compile(operand) for operand in operands)

        def index(frame: Frame) -> Any:
            value, at = target(frame), key(frame)
            frame.cost += 1
            if isinstance(value, Optional):
                return _find(value, at)
            return at_index(value, at)

        return index

    def _optional_index(self, operands: list[Expr]) -> Step:
        target, key = (self.compile(operand) for operand in operands)

        def index(frame: Frame) -> Any:
            value, at = target(frame), key(frame)
            frame.cost += 1
            return _find(value, at)

        return index

    def _optional_select(self, operands: list[Expr]) -> Step:
        target, key = self.compile(operands[0]), self._key(operands[0], str(operands[1].value))

        def select(frame: Frame) -> Any:
            value = target(frame)
            frame.cost += 1
            return _find(value, key)

        return select

    def _or_else(self, operands: list[Expr]) -> Step:
        first, second = (self.compile(operand) for operand in operands)
        return lambda frame: value if _optional(value := first(frame)).has else second(frame)

    def _or_value(self, operands: list[Expr]) -> Step:
        first, second = (self.compile(operand) for operand in operands)
        return lambda frame: value.value if _optional(value := first(frame)).has else second(frame)

    def _comprehension(self, expr: Expr) -> Step:
        parts = expr.parts
        over, init, result = (self.compile(parts[name]) for name in ("range", "init", "result"))
        always = parts["condition"].kind == "const" and parts["condition"].value is True
        condition = None if always else self.compile(parts["condition"])
        first, second, accumulator = expr.name, expr.value, expr.accumulator
        grown = _grown(expr)
        step = self._growing(grown, accumulator) if grown is not None else self.compile(parts["step"])

        def fold(frame: Frame) -> Any:
            values = frame.values
            items = over(frame)
            pairs = _pairs(items) if second else None
            kept = [(name, values.get(name, _ABSENT)) for name in (accumulator, first, second) if name]
            try:
                values[accumulator] = init(frame)
                for item in pairs if pairs is not None else _items(items):
                    if second:
                        values[first], values[second] = item
                    else:
                        values[first] = item
                    if condition is not None:
                        if not condition(frame):
                            break
                        try:
                            values[accumulator] = step(frame)
                        except EvaluationError as error:
                            values[accumulator] = error
                    else:
                        values[accumulator] = step(frame)
                    if frame.cost > frame.limit:
                        raise _OverLimit
                return result(frame)
            finally:
                for name, value in kept:
                    if value is _ABSENT:
                        values.pop(name, None)
                    else:
                        values[name] = value

        return fold

    def _growing(self, grown: tuple[Expr | None, Expr], accumulator: str) -> Step:
        """The step of map and filter: grows the list that it has, and costs what adding lists does."""
        test = self.compile(grown[0]) if grown[0] is not None else None
        item = self.compile(grown[1])

        def step(frame: Frame) -> Any:
            found = frame.values[accumulator]
            frame.cost += 1
            if test is not None:
                value = test(frame)
                if value is False:
                    return found
                if value is not True:
                    raise no_overload()
            found.append(item(frame))
            frame.cost += 11
            return found

        return step


def _grown(expr: Expr) -> tuple[Expr | None, Expr] | None:
    """Condition and element of a comprehension that only appends to a list of its own."""
    init, step = expr.parts["init"], expr.parts["step"]
    if init.kind != "list" or init.args:
        return None
    test: Expr | None = None
    if step.kind == "call" and step.name == "_?_:_" and _is(step.args[2], expr.accumulator):
        test, step = step.args[0], step.args[1]
    if step.kind != "call" or step.name != "_+_" or not _is(step.args[0], expr.accumulator):
        return None
    added = step.args[1]
    if added.kind != "list" or len(added.args) != 1 or added.optional:
        return None
    return test, added.args[0]


def _is(expr: Expr, name: str) -> bool:
    return expr.kind == "ident" and expr.name == name


def _ident(name: str) -> Step:
    from kubepy.api.cel.function.conversion import TYPES

    constant = TYPES.get(name)

    def ident(frame: Frame) -> Any:
        frame.cost += 1
        try:
            value = frame.values[name]
        except KeyError:
            if constant is not None:
                return constant
            raise EvaluationError(f"no such attribute(s): {name}") from None
        if isinstance(value, EvaluationError):
            raise value
        return value

    return ident


def _binary(name: str, left: Step, right: Step, call: Callable[[Any, Any], Any], allowed: frozenset[str] | None,
            cost: Callable[[tuple[Any, ...], Any], int] | None) -> Step:
    def binary(frame: Frame) -> Any:
        one, other = left(frame), right(frame)
        if allowed is not None and name_of(one) not in allowed:
            raise no_overload(name)
        result = call(one, other)
        frame.cost += cost((one, other), result) if cost is not None else 1
        if frame.cost > frame.limit:
            raise _OverLimit
        return result

    return binary


def _tried(step: Step, frame: Frame) -> Any:
    try:
        return step(frame)
    except EvaluationError:
        return None


def _items(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return value if isinstance(value, dict) else value[:]
    raise EvaluationError(f"got '{go_name(value)}', expected iterable type")


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return value.items()
    return enumerate(_items(value))


def _optional(value: Any) -> Optional:
    if not isinstance(value, Optional):
        raise no_overload()
    return value


def _opened(value: Any) -> Any:
    return _optional(value).value


def _has(value: Any, key: str) -> bool:
    if isinstance(value, Optional):
        return value.has and _has(value.value, key)
    return isinstance(value, dict) and key in value


def at_index(value: Any, at: Any) -> Any:
    """`value[at]` of a list or a map."""
    if isinstance(value, list):
        if not is_number(at) or at != int(at):
            raise EvaluationError(f"unsupported index type '{name_of(at)}' in list" if not is_number(at)
                                  else f"unsupported index value {show(at)} in list")
        if 0 <= at < len(value):
            return value[int(at)]
        raise EvaluationError(f"index out of bounds: {show(at)}")
    if isinstance(value, dict):
        found = lookup(value, at)
        if found is not _ABSENT:
            return found
    raise EvaluationError(f"no such key: {show(at)}")


def lookup(value: dict[Any, Any], key: Any) -> Any:
    """The value of a key, or a mark that is no value. Python takes True for 1."""
    if isinstance(key, (list, dict)) or (type(key) is bool and key not in [item for item in value if type(item) is bool]):
        return _ABSENT
    try:
        return value[key]
    except KeyError:
        return _ABSENT


def _find(value: Any, key: Any) -> Optional:
    if isinstance(value, Optional):
        if not value.has:
            return NONE
        value = value.value
    if isinstance(value, dict):
        found = lookup(value, key)
        return NONE if found is _ABSENT else Optional(found)
    if isinstance(value, list) and is_number(key):
        return Optional(value[int(key)]) if 0 <= key < len(value) else NONE
    return NONE


def contains(value: Any, container: Any) -> bool:
    """`value in container`."""
    if isinstance(container, list):
        return any(equal(value, item) for item in container)
    if isinstance(container, dict):
        return lookup(container, value) is not _ABSENT
    raise no_overload()


_SPECIAL: dict[str, Callable[[_Compiler, list[Expr]], Step]] = {
    "_&&_": _Compiler._and, "_||_": _Compiler._or, "_?_:_": _Compiler._conditional, "@not_strictly_false": _Compiler._not_strictly_false,
    "_[_]": _Compiler._index, "_[?_]": _Compiler._optional_index, "_?._": _Compiler._optional_select, "or": _Compiler._or_else,
    "orValue": _Compiler._or_value,
}
