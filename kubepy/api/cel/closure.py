"""Checked expressions as Python closures, which count what they cost (`cel-go/interpreter`, `runtimecost.go`).

A closure takes the frame of one evaluation and gives a value or raises EvaluationError. Costs are cel-go's: 1 for a variable or a
selection, 10 for a list, 30 for a map, 40 for an object, what `meter.py` says for a call.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubepy.api.cel.access import ABSENT, at_index, find, has, items_of, opened, optional, pairs_of
from kubepy.api.cel.check import Checked
from kubepy.api.cel.frame import Frame, OverLimit, Step
from kubepy.api.cel.kind import Struct, is_optional
from kubepy.api.cel.meter import call_cost
from kubepy.api.cel.tree import Expr
from kubepy.api.cel.value import EvaluationError, ObjectValue, Optional, name_of, no_overload, show


class Compiler:
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
            return lambda frame: has(target(frame), key)

        def select(frame: Frame) -> Any:
            value = target(frame)
            frame.cost += 1
            if isinstance(value, dict):
                try:
                    return value[key]
                except KeyError:
                    raise EvaluationError(f"no such key: {name}") from None
            if isinstance(value, Optional):
                return find(value, key)
            raise EvaluationError(f"no such key: {name}")

        return select

    def _list(self, expr: Expr) -> Step:
        steps = [self.compile(arg) for arg in expr.args]
        optionals = expr.optional

        def build(frame: Frame) -> Any:
            values = [step(frame) for step in steps]
            frame.cost += 10
            if optionals:
                return [opened(value) if at in optionals else value for at, value in enumerate(values)
                        if at not in optionals or optional(value).has]
            return values

        return build

    def _entries(self, expr: Expr) -> Step:
        named = expr.kind == "struct"
        entries = [(self.compile(entry.key) if entry.key is not None else None, entry.field, self.compile(entry.value), entry.optional)
                   for entry in expr.entries]
        name, cost = expr.name, 40 if named else 30

        def build(frame: Frame) -> Any:
            found: dict[Any, Any] = {}
            for key_step, key, step, may_lack in entries:
                if key_step is not None:
                    key = key_step(frame)
                    if type(key).__hash__ is None or isinstance(key, (list, dict)):
                        raise EvaluationError(f"unsupported key type: {name_of(key)}")
                    if key in found:
                        raise EvaluationError(f"insert failed: key {show(key)} already exists")
                value = step(frame)
                if may_lack:
                    if not optional(value).has:
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
                raise OverLimit
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
                raise OverLimit
            return value is not False

        return hold

    def _index(self, operands: list[Expr]) -> Step:
        target, key = (self.compile(operand) for operand in operands)

        def index(frame: Frame) -> Any:
            value, at = target(frame), key(frame)
            frame.cost += 1
            if isinstance(value, Optional):
                return find(value, at)
            return at_index(value, at)

        return index

    def _optional_index(self, operands: list[Expr]) -> Step:
        target, key = (self.compile(operand) for operand in operands)

        def index(frame: Frame) -> Any:
            value, at = target(frame), key(frame)
            frame.cost += 1
            return find(value, at)

        return index

    def _optional_select(self, operands: list[Expr]) -> Step:
        target, key = self.compile(operands[0]), self._key(operands[0], str(operands[1].value))

        def select(frame: Frame) -> Any:
            value = target(frame)
            frame.cost += 1
            return find(value, key)

        return select

    def _or_else(self, operands: list[Expr]) -> Step:
        first, second = (self.compile(operand) for operand in operands)
        return lambda frame: value if optional(value := first(frame)).has else second(frame)

    def _or_value(self, operands: list[Expr]) -> Step:
        first, second = (self.compile(operand) for operand in operands)
        return lambda frame: value.value if optional(value := first(frame)).has else second(frame)

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
            pairs = pairs_of(items) if second else None
            kept = [(name, values.get(name, ABSENT)) for name in (accumulator, first, second) if name]
            try:
                values[accumulator] = init(frame)
                for item in pairs if pairs is not None else items_of(items):
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
                        raise OverLimit
                return result(frame)
            finally:
                for name, value in kept:
                    if value is ABSENT:
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
            raise OverLimit
        return result

    return binary


def _tried(step: Step, frame: Frame) -> Any:
    try:
        return step(frame)
    except EvaluationError:
        return None


_SPECIAL: dict[str, Callable[[Compiler, list[Expr]], Step]] = {
    "_&&_": Compiler._and, "_||_": Compiler._or, "_?_:_": Compiler._conditional, "@not_strictly_false": Compiler._not_strictly_false,
    "_[_]": Compiler._index, "_[?_]": Compiler._optional_index, "_?._": Compiler._optional_select, "or": Compiler._or_else,
    "orValue": Compiler._or_value,
}
